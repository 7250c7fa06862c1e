"""How much of a detector's power is left after what happens to pictures and videos on their way.

Labels never reach a perturbation, and both classes draw alike: see ``training.perturbations``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detection.engine.pipeline import Pipeline
from detection.engine.types import RGBImage
from detection.training import metrics
from detection.training.datasets import Sample
from detection.training.perturbations import CHAINS, CLEAN, NEAR_LOSSLESS, Cell, recode
from detection.training.scoring import (
    ALARMS,
    HINTS,
    Clip,
    Detector,
    Judged,
    comparisons,
    judge_clips,
    judge_images,
    judge_videos,
    score_faces,
)


def balanced(samples: Sequence[Sample], number: int) -> list[Sample]:
    """About ``number`` faces, equally many of each origin, spread over its videos; always the same ones."""
    seen: dict[str, int] = {}
    origins: dict[str, list[tuple[int, int, Sample]]] = {}
    for sample in samples:
        place = seen[sample.video] = seen.get(sample.video, -1) + 1
        origins.setdefault(sample.origin, []).append((place, zlib.crc32(sample.path.name.encode()), sample))
    share = max(1, number // max(1, len(origins)))
    picked = [sorted(members, key=lambda m: m[:2])[:share] for _, members in sorted(origins.items())]
    return [sample for members in picked for _, _, sample in members]


def changed_by(cell: Cell) -> Callable[[Sample, RGBImage], RGBImage]:
    """The cell as a change of a sample's picture; its draw depends on cell and file name alone."""

    def change(sample: Sample, image: RGBImage) -> RGBImage:
        seeds = [zlib.crc32(cell.name.encode()), zlib.crc32(sample.path.name.encode())]
        return cell.apply(image, np.random.default_rng(seeds))

    return change


def measure(
    samples: Sequence[Sample], detector: Detector, cells: Sequence[Cell], *, videos: bool = False
) -> list[dict[str, Any]]:
    """One row a cell, the clean one first: AUC, loss, false alarms on reals and their drift, coverage.

    AUC is the mean over the manipulations, each against its own reals. The loss has a paired interval: the same
    people are drawn for the clean and the degraded files. ``videos`` judges frames together, else each alone.
    """
    judge = judge_videos if videos else judge_images
    clean = judge(score_faces(samples, detector, what="clean"), detector.spec)
    weights = metrics.cluster_weights(clean.clusters)
    rows = [_row(CLEAN, clean, clean, weights)]
    for cell in cells:
        faces = score_faces(samples, detector, change=changed_by(cell), what=cell.name)
        rows.append(_row(cell, clean, judge(faces, detector.spec), weights))
    return rows


def _row(cell: Cell, clean: Judged, judged: Judged, weights: metrics.Array) -> dict[str, Any]:
    masks = list(comparisons(clean).values())
    labels = clean.labels

    def area(w: metrics.Array) -> metrics.Array:
        return metrics.mean_auc(masks, labels, judged.scores, w)

    def loss(w: metrics.Array) -> metrics.Array:
        return metrics.mean_auc(masks, labels, clean.scores, w) - area(w)

    return {
        "suite": cell.suite,
        "kind": cell.kind,
        "level": cell.level,
        "auc": metrics.estimate(area, weights).as_dict(),
        "loss": metrics.estimate(loss, weights).as_dict(),
        **_false_alarms(clean, judged),
        "coverage": round(float(np.mean([v != "inconclusive" for v in judged.verdicts])), 4),
        "auc_by_origin": {
            name: round(float(metrics.auc(labels[m], judged.scores[m], metrics.ones(int(m.sum())))[0]), 4)
            for name, m in comparisons(clean).items()
        },
    }


def _false_alarms(clean: Judged, judged: Judged) -> dict[str, Any]:
    reals = judged.labels == 0
    number = int(reals.sum())
    result: dict[str, Any] = {"reals": number}
    for name, verdicts in (("alarms", ALARMS), ("hints", HINTS)):
        before, after = (int((j.having(verdicts) & reals).sum()) for j in (clean, judged))
        result[name] = after
        result[f"{name}_rate"] = metrics.proportion(after, number).as_dict()
        result[f"{name}_drift"] = round((after - before) / number, 4) if number else None
    return result


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the cells, worst cell, and the largest drift of the false alarms."""
    cells = [row for row in rows if row["suite"] != "clean"]
    worst = min(cells, key=lambda row: row["auc"]["value"])
    drift = max(cells, key=lambda row: row["alarms_drift"] or 0.0)
    return {
        "cells": len(cells),
        "clean_auc": rows[0]["auc"]["value"],
        "mean_auc": round(float(np.mean([row["auc"]["value"] for row in cells])), 4),
        "worst_cell": f"{worst['kind']} {worst['level']}".strip(),
        "worst_auc": worst["auc"]["value"],
        "largest_alarm_drift": drift["alarms_drift"],
        "largest_alarm_drift_cell": f"{drift['kind']} {drift['level']}".strip(),
    }


def measure_clips(
    clips: Sequence[Clip], pipeline: Pipeline, folder: Path, *, seconds: float = 3.0
) -> list[dict[str, Any]]:
    """As :func:`measure`, on whole videos that are decoded, changed, encoded and analysed as served."""
    rows, clean = [], None
    for name, chain in {"as they are": ((None, NEAR_LOSSLESS),), **CHAINS}.items():
        change = partial(recode, chain=chain, folder=folder, seconds=seconds)
        judged, refused = judge_clips(clips, pipeline, change=change, what=name)
        if refused:
            raise ValueError(f"{name}: the engine refused {refused}")
        clean = clean or judged
        weights = metrics.cluster_weights(clean.clusters)
        rows.append(_row(Cell("clips", name, "", CLEAN.apply), clean, judged, weights))
    return rows
