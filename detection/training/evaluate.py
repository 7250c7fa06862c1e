"""Measure a model as it is served, not a training graph: every figure comes from the file that the engine runs.

:func:`run` measures everything that a release is judged by and writes it down: ``report.json`` (all of it),
``report.csv`` (one figure a line), ``report.md``, ``scores.csv`` (one file a line) and the plots.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine import runtimes
from detection.engine.faces import BlazeFaceDetector
from detection.engine.factory import EngineConfig, pipeline_of
from detection.engine.pipeline import Pipeline
from detection.engine.registry import WEIGHTS, ModelSpec, check_files, find_model, read_manifest
from detection.engine.types import Verdict
from detection.training import agreement, baselines, metrics, plots, robustness, sections, tables
from detection.training.datasets import Sample, read_manifests
from detection.training.perturbations import barred, deeper_forensics, everyday, gend
from detection.training.scoring import (
    Detector,
    Judged,
    beside_reals,
    judge_clips,
    judge_images,
    judge_videos,
    read_clips,
    score_faces,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and on what."""

    manifests: tuple[Path, ...]
    output: Path
    clips: Path | None = None  # manifest of whole videos
    baselines: Path | None = None  # folder with MesoNet's published weights
    model: str | None = None  # None: the registry's default
    version: str | None = None  # None: the shipped one, or the only one installed
    weights_dir: Path = WEIGHTS
    models_dir: Path | None = None  # of installed models
    folder: Path | None = None  # of one model with its model.toml, wherever it lies, instead of a name
    split: str = "val"
    robustness_faces: int = 400  # of the full grids; 0 leaves grids and clips out. The three bars use all faces
    clip_seconds: float = 3.0  # of each clip that is encoded anew
    threads: int = 2
    quick: bool = False  # ranking and verdicts alone: what one model is held against another by

    def spec(self) -> ModelSpec:
        """The model that is measured. Raises ModelError if it is missing or not the file that was registered."""
        if self.folder is None:
            return find_model(self.model, self.version, folder=self.weights_dir, installed=self.models_dir)
        spec = read_manifest(self.folder)
        check_files(spec)
        return spec


def run(plan: Plan, *, network: agreement.Network | None = None) -> dict[str, Any]:
    """Measure, write everything to ``plan.output`` and return the report.

    Args:
        plan: what to measure.
        network: training's own network, crops to logits, to be held against the shipped file.

    Raises:
        ModelError: the model is missing or is not the file that the registry names.
        ValueError: the manifests have no row of the split.
    """
    spec = plan.spec()
    detector = Detector(spec, runtimes.load(spec, threads=plan.threads))
    samples = [s for s in read_manifests(plan.manifests) if s.split == plan.split]
    if not samples:
        raise ValueError(f"no rows of {plan.split!r} in {', '.join(str(p) for p in plan.manifests)}")
    others = baselines.load(plan.baselines, spec) if plan.baselines else {}
    faces = score_faces(samples, detector, what="faces")
    videos, images = judge_videos(faces, spec), judge_images(faces, spec)
    report: dict[str, Any] = {
        "model": _model(spec),
        "data": _data(plan, samples),
        "videos": _level(videos),
        "images": {**_level(images), "slices": sections.slices(faces, images)},
        "compared": {"videos": sections.compared(videos, _others(samples, others))},
    }
    if plan.clips is not None:
        report["clips"] = _clips(plan, detector, others, report["compared"])
    if not plan.quick:
        report["alike"] = sections.alike(samples, detector)
        report["agreement"] = {"engine": agreement.with_engine(samples, detector)}
        if network is not None:
            report["agreement"]["network"] = agreement.with_network(samples, detector, network)
        report["robustness"] = _robustness(plan, samples, detector)
        report["bars"] = bars(report)
    plan.output.mkdir(parents=True, exist_ok=True)
    _write(report, videos, plan.output)
    plots.draw(report, videos, plan.output)
    return report


def _model(spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": spec.version,
        "file": spec.path.name,
        "sha256": spec.sha256,
        "bytes": sum(path.stat().st_size for path in [spec.path, *spec.path.rglob("*")] if path.is_file()),
        "architecture": spec.architecture,
        "input_size": spec.input_size,
        "crop_margin": spec.crop_margin,
        "image": asdict(spec.image),
        "video": asdict(spec.video),
    }


def _data(plan: Plan, samples: Sequence[Sample]) -> dict[str, Any]:
    origins: dict[str, list[Sample]] = {}
    for sample in samples:
        origins.setdefault(sample.origin, []).append(sample)
    plain = {
        origin: {
            "faces": len(members),
            "videos": len({s.video for s in members}),
            "people": len({s.group for s in members}),
        }
        for origin, members in sorted(origins.items())
    }
    return {"split": plan.split, "bootstrap_draws": metrics.DRAWS, "origins": plain}


def _level(judged: Judged) -> dict[str, Any]:
    given = judged.where(~judged.having((Verdict.INCONCLUSIVE,)))
    return {
        "overall": sections.overall(judged),
        "by_manipulation": sections.by_manipulation(judged),
        "by_source": sections.by_source(judged),
        "reliability": metrics.reliability(given.labels, given.scores),
    }


def _others(samples: Sequence[Sample], others: dict[str, Detector]) -> dict[str, Judged]:
    return {name: judge_videos(score_faces(samples, other, what=name), other.spec) for name, other in others.items()}


def _clips(plan: Plan, detector: Detector, others: dict[str, Detector], compared: dict[str, Any]) -> dict[str, Any]:
    assert plan.clips is not None
    clips = read_clips(plan.clips, plan.split)
    pipeline = pipeline_of(detector.spec, EngineConfig(threads=plan.threads))
    judged, refused = judge_clips(clips, pipeline)
    theirs = {}
    for name, other in others.items():
        beside = Pipeline(spec=other.spec, classifier=other.classifier, face_detector=BlazeFaceDetector())
        theirs[name] = judge_clips(clips, beside, what=name)[0]
    compared["clips"] = sections.compared(judged, theirs)
    changed = []
    if plan.robustness_faces and not plan.quick:
        with tempfile.TemporaryDirectory() as folder:
            changed = robustness.measure_clips(clips, pipeline, Path(folder), seconds=plan.clip_seconds)
    return {
        "overall": sections.describe(judged),
        "by_manipulation": sections.by_manipulation(judged),
        "by_source": sections.by_source(judged),
        "refused": refused,
        "robustness": changed,
    }


def _robustness(plan: Plan, samples: Sequence[Sample], detector: Detector) -> dict[str, Any]:
    result: dict[str, Any] = {"bars": robustness.measure(samples, detector, barred(), videos=True)}
    if plan.robustness_faces:
        chosen = robustness.balanced(samples, plan.robustness_faces)
        rows = robustness.measure(chosen, detector, [*deeper_forensics(), *gend(), *everyday()])
        result |= {"faces": len(chosen), "cells": rows, "summary": robustness.summary(rows)}
    return result


# --- what a release must show -----------------------------------------------------------------------

STILLS = {
    "ciplab-photoshop": 0.75,
    "openforensics-gan-blend": 0.95,
    "sdfd-stable-diffusion": 0.95,
    "stylegan-stylegan": 0.95,
}


def bars(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The acceptance list: what was asked, what was measured, whether it was met."""
    rows: list[dict[str, Any]] = []

    def add(name: str, measured: float | None, limit: float, *, at_least: bool) -> None:
        met = measured is not None and (measured >= limit if at_least else measured <= limit)
        rows.append({"name": name, "measured": measured, "limit": limit, "at_least": at_least, "met": met})

    for row in report["videos"]["by_manipulation"]:
        if row["name"].startswith("ffpp"):
            limit = 0.98 if row["name"] == sections.ALL_FOUR else 0.95
            add(f"video AUC, {row['name']}", row["auc"]["value"], limit, at_least=True)
    for row in report["alike"]["recompressed"]:
        if row["name"] in STILLS:
            add(
                f"still AUC after recompression, {row['name']}", row["auc"]["value"], STILLS[row["name"]], at_least=True
            )
    kinds = report["videos"]["overall"]["kinds"]
    if "video" in kinds:
        add("false alarms, real videos", kinds["video"]["false_alarms"], 0, at_least=False)
    if "image" in kinds:
        add("false-alarm rate, real photos", kinds["image"]["false_alarms_rate"]["value"], 0.02, at_least=False)
    if "clips" in report:
        add("false alarms, real clips end to end", report["clips"]["overall"]["false_alarms"], 0, at_least=False)
    for row in report["robustness"]["bars"][1:]:
        add(f"loss of AUC, {row['kind']} {row['level']}".strip(), row["loss"]["value"], 0.08, at_least=False)
    add("ECE over videos and stills", report["videos"]["overall"].get("ece", {}).get("value"), 0.08, at_least=False)
    difference = report["agreement"]["engine"]["largest_score_difference"]
    add("engine against training code, score", difference, agreement.TOLERANCE, at_least=False)
    return rows


# --- writing ----------------------------------------------------------------------------------------


def _write(report: dict[str, Any], videos: Judged, folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(tables.markdown(report), encoding="utf-8")
    with (folder / "report.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("figure", "value"))
        writer.writerows(tables.flat(report))
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "origin", "label", "score", "verdict"))
        for i, name in enumerate(videos.names):
            score = f"{videos.scores[i]:.6f}"
            writer.writerow((name, videos.origins[i], videos.labels[i], score, videos.verdicts[i]))


# --- the short way: what release and calibration need ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits of ``samples``, in the same order, float32 (n,)."""

    samples: tuple[Sample, ...]
    logits: NDArray[np.float32]


def by_video(scores: Scores) -> Scores:
    """Average the logits of each video's frames; a still image is a video of one frame."""
    members: dict[str, list[int]] = {}
    for i, sample in enumerate(scores.samples):
        members.setdefault(sample.video, []).append(i)
    firsts = tuple(scores.samples[indices[0]] for indices in members.values())
    return Scores(firsts, np.array([scores.logits[i].mean() for i in members.values()], np.float32))


def auc_by_origin(scores: Scores) -> list[dict[str, Any]]:
    """One row a manipulation: AUC over videos with a 95 % interval over people, and the numbers behind it."""
    videos = by_video(scores)
    origins = np.array([s.origin for s in videos.samples], np.str_)
    labels = np.array([s.label for s in videos.samples])
    masks = beside_reals(labels, origins)
    ffpp = [mask for origin, mask in masks.items() if origin.startswith("ffpp-")]
    if ffpp:
        masks[sections.ALL_FOUR] = np.any(ffpp, axis=0)
    groups = np.array([s.group for s in videos.samples])
    return [
        {"origin": origin, **_auc(labels[mask], videos.logits[mask], list(groups[mask]))}
        for origin, mask in masks.items()
    ]


def _auc(labels: NDArray[np.int64], logits: NDArray[np.float32], groups: Sequence[str]) -> dict[str, Any]:
    values = logits.astype(float)
    area = metrics.estimate(lambda w: metrics.auc(labels, values, w), metrics.cluster_weights(groups))
    return {
        "real": int((labels == 0).sum()),
        "fake": int((labels == 1).sum()),
        "auc": round(area.value, 3),
        "low": round(area.low, 3),
        "high": round(area.high, 3),
    }
