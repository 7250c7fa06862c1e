"""The sections of a report: figures over judged files, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine.preprocessing import face_scale
from detection.engine.types import MediaKind, RGBImage, Verdict
from detection.training import metrics
from detection.training.datasets import Sample
from detection.training.degradations import jpeg
from detection.training.scoring import (
    ALARMS,
    HINTS,
    PORTRAITS,
    Detector,
    Faces,
    Judged,
    comparisons,
    judge_images,
    score_faces,
)

ALL_FOUR = "ffpp (all four)"
# Edges of the slices. Face size as the engine measures it; sharpness: variance of the Laplacian at input size;
# detail: bits the stored picture spends on a pixel, low where compression or blur has left little.
SLICES = {
    "face size, px": (0, 90, 120, 150, np.inf),
    "sharpness": (0, 100, 300, 1000, np.inf),
    "bits per pixel": (0, 1.75, 2.25, 2.75, np.inf),
}
RECOMPRESSED = 75  # JPEG quality
EQUAL_SCALE = 44.0  # eyes to mouth, pixels: a face some 120 px wide


def describe(judged: Judged) -> dict[str, Any]:
    """Everything that can be said of one set of files: ranking, calibration, operating point, coverage."""
    labels = judged.labels
    row: dict[str, Any] = {
        "real": int((labels == 0).sum()),
        "fake": int((labels == 1).sum()),
        "people": len(set(judged.clusters)),
        "prevalence": round(float(labels.mean()), 4) if len(judged) else None,
    }
    if 0 < labels.sum() < len(labels):
        weights = metrics.cluster_weights(judged.clusters)
        row |= _plain(metrics.ranking(labels, judged.scores, weights))
        row |= _plain(_at_the_threshold(judged, weights))
    return row | operating(judged)


def _at_the_threshold(judged: Judged, weights: metrics.Array) -> dict[str, metrics.Estimate]:
    """Figures that need a probability or a decision, over the files that got a verdict."""
    given = ~judged.having((Verdict.INCONCLUSIVE,))
    labels, scores, drawn = judged.labels[given], judged.scores[given], weights[:, given]
    if not 0 < labels.sum() < len(labels):
        return {}
    alarmed = judged.having(ALARMS)[given].astype(float)
    return {
        **metrics.calibration(labels, scores, drawn),
        "balanced_accuracy": metrics.estimate(lambda w: metrics.balanced_accuracy(labels, alarmed, w), drawn),
    }


def operating(judged: Judged) -> dict[str, Any]:
    """Verdicts counted: false alarms and detections with exact intervals, and the share that got a verdict."""
    row: dict[str, Any] = {}
    for label, words in ((0, ("false_alarms", "false_hints")), (1, ("detected", "suspected"))):
        chosen = judged.labels == label
        number = int(chosen.sum())
        for word, verdicts in zip(words, (ALARMS, HINTS), strict=True):
            hits = int((judged.having(verdicts) & chosen).sum())
            row[word] = hits
            row[f"{word}_rate"] = metrics.proportion(hits, number).as_dict()
            if label == 0:
                row[f"{word}_at_most"] = round(metrics.upper_bound(hits, number), 4)
    inconclusive = int(judged.having((Verdict.INCONCLUSIVE,)).sum())
    row["inconclusive"] = inconclusive
    row["coverage"] = round(1 - inconclusive / len(judged), 4) if len(judged) else None
    return row


def by_manipulation(judged: Judged) -> list[dict[str, Any]]:
    """One row a manipulation against its own reals, and one over all of FaceForensics++."""
    masks = comparisons(judged)
    rows = [{"name": name, **describe(judged.where(mask))} for name, mask in masks.items()]
    ffpp = [mask for name, mask in masks.items() if name.startswith("ffpp-")]
    if ffpp:
        rows.append({"name": ALL_FOUR, **describe(judged.where(np.any(ffpp, axis=0)))})
    return rows


def by_source(judged: Judged) -> list[dict[str, Any]]:
    """Verdicts by origin: false alarms where the origin is real, detections where it is not."""
    rows = []
    for origin in sorted(set(judged.origins)):
        mine = judged.where(judged.origins == origin)
        words = ("false_alarms", "false_hints") if mine.labels[0] == 0 else ("detected", "suspected")
        counted = operating(mine)
        kept = [key for word in words for key in (word, f"{word}_rate")]
        rows.append(
            {
                "name": str(origin),
                "label": int(mine.labels[0]),
                "files": len(mine),
                **{key: counted[key] for key in (*kept, "inconclusive", "coverage")},
                "median_score": round(float(np.median(mine.scores)), 4),
            }
        )
    return rows


def overall(judged: Judged) -> dict[str, Any]:
    """All files together. ``mean_auc`` is the mean over manipulations; the pooled ``auc`` also mixes sources."""
    masks = list(comparisons(judged).values())
    weights = metrics.cluster_weights(judged.clusters)
    mean = metrics.estimate(lambda w: metrics.mean_auc(masks, judged.labels, judged.scores, w), weights)
    kinds = {kind: judged.where(np.array([k is kind for k in judged.kinds], bool)) for kind in MediaKind}
    return {
        "mean_auc": mean.as_dict(),
        **describe(judged),
        "kinds": {kind.value: operating(files) for kind, files in kinds.items() if len(files)},
        "reals": {kind.value: int((files.labels == 0).sum()) for kind, files in kinds.items() if len(files)},
    }


def slices(faces: Faces, images: Judged) -> list[dict[str, Any]]:
    """Single faces by size, sharpness and detail. Pairs are formed within a source only: see ``paired_auc``."""
    measured = {
        "face size, px": np.array([q.face_size for q in faces.qualities]),
        "sharpness": np.array([q.sharpness for q in faces.qualities]),
        "bits per pixel": np.array([_bits_per_pixel(s) for s in faces.samples]),
    }
    strata = np.array([_stratum(str(origin)) for origin in images.origins])
    rows = []
    for name, edges in SLICES.items():
        for low, high in pairwise(edges):
            chosen = (measured[name] >= low) & (measured[name] < high)
            if chosen.any():
                part = images.where(chosen)
                rows.append({"slice": name, "from": low, "to": high, **_sliced(part, list(strata[chosen]))})
    for row in rows:
        row["to"] = None if np.isinf(row["to"]) else row["to"]
    return rows


def _sliced(part: Judged, strata: Sequence[str]) -> dict[str, Any]:
    weights = metrics.cluster_weights(part.clusters)
    area = metrics.estimate(lambda w: metrics.paired_auc(strata, part.labels, part.scores, w), weights)
    return {
        "real": int((part.labels == 0).sum()),
        "fake": int((part.labels == 1).sum()),
        "paired_auc": area.as_dict(),
        **operating(part),
    }


def _stratum(origin: str) -> str:
    dataset = origin.split("-")[0]
    return "portraits" if origin in PORTRAITS or dataset in ("sdfd", "stylegan") else dataset


def _bits_per_pixel(sample: Sample) -> float:
    height, width = sample.load().shape[:2]
    return 8 * sample.path.stat().st_size / (height * width)


def recompressed(sample: Sample, image: RGBImage) -> RGBImage:
    """One more round of JPEG, the same for everybody: what is told apart by its last save no longer is."""
    del sample
    return jpeg(image, RECOMPRESSED)


def equalised(sample: Sample, image: RGBImage) -> RGBImage:
    """All faces of one size, then :func:`recompressed`: nothing is left of a source's resolution."""
    factor = EQUAL_SCALE / face_scale(sample.landmarks)
    size = (max(8, round(image.shape[1] * factor)), max(8, round(image.shape[0] * factor)))
    kernel = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return recompressed(sample, np.asarray(cv2.resize(image, size, interpolation=kernel), np.uint8))


def alike(samples: Sequence[Sample], detector: Detector) -> dict[str, list[dict[str, Any]]]:
    """AUC by manipulation after both classes went through the same last save, and through the same size as well."""
    result = {}
    for name, change in (("recompressed", recompressed), ("same size, recompressed", equalised)):
        judged = judge_images(score_faces(samples, detector, change=change, what=name), detector.spec)
        result[name] = [
            {"name": origin, "auc": _auc(judged.where(mask)).as_dict()} for origin, mask in comparisons(judged).items()
        ]
    return result


def compared(ours: Judged, others: dict[str, Judged]) -> list[dict[str, Any]]:
    """AUC of several detectors on the same files, by manipulation and over all of FaceForensics++."""
    rows = []
    masks: dict[str, NDArray[np.bool_]] = comparisons(ours)
    ffpp = [mask for name, mask in masks.items() if name.startswith("ffpp-")]
    if ffpp:
        masks[ALL_FOUR] = np.any(ffpp, axis=0)
    if len(masks) > 1 and not ffpp:
        masks["all"] = np.any(list(masks.values()), axis=0)
    for name, mask in masks.items():
        areas = {who: _auc(judged.where(mask)).as_dict() for who, judged in {"ours": ours, **others}.items()}
        labels = ours.labels[mask]
        rows.append({"name": name, "real": int((labels == 0).sum()), "fake": int(labels.sum()), "auc": areas})
    return rows


def _auc(judged: Judged) -> metrics.Estimate:
    weights = metrics.cluster_weights(judged.clusters)
    return metrics.estimate(lambda w: metrics.auc(judged.labels, judged.scores, w), weights)


def _plain(estimates: dict[str, metrics.Estimate]) -> dict[str, Any]:
    return {name: value.as_dict() for name, value in estimates.items()}
