"""Make a trained network the one that the engine serves: export, calibrate, measure, register."""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from detection.engine.registry import REGISTRY, ModelSpec, OperatingPoint, QualityLimits, sha256_of
from detection.engine.runtimes.litert import LiteRTClassifier
from detection.engine.types import Verdict
from detection.training import calibrate, metrics
from detection.training.datasets import Sample, read_manifests
from detection.training.evaluate import Scores, auc_by_origin, by_video
from detection.training.export import to_litert
from detection.training.runs import load, members_of
from detection.training.scoring import Detector, Faces, judge_videos, score_faces
from detection.training.train import Config, read_noted

# Share of real files that may reach each threshold.
MANIPULATED_FALSE_ALARMS = 0.01
SUSPICIOUS_FALSE_ALARMS = 0.05
QUALITY = QualityLimits(min_face_size=64.0, min_sharpness=8.0, min_brightness=25.0, min_detail=0.7, min_frames=4)
NEUTRAL = OperatingPoint(slope=1.0, intercept=0.0, suspicious=0.5, manipulated=0.5)
DATA = (
    "FaceForensics++ c23 (FaceForensics terms, research only)",
    "CIPLAB Real and Fake Face Detection (research)",
    "OpenForensics, 256 px re-upload (research)",
    "LFW and landmark face swaps of it (research)",
    "FFHQ 512 px (CC BY-NC-SA)",
    "AMFD, SCUT-FBP5500 (research, non-commercial)",
    "Ecuador politicians: video frames and FLUX pictures (MIT)",
    "SDFD Stable Diffusion 2.1 portraits (not stated)",
    "StyleGAN faces (not stated)",
)


def release(run: Path, name: str, version: str, weights_dir: Path) -> str:
    """Write ``<name>-v<version>.tflite`` and its registry entry; returns the entry as TOML.

    ``run`` is the folder of a run, an average or an ensemble.

    Calibration and thresholds come from the calibration identities, which training does not see;
    the figures come from ``val``, which neither training nor calibration sees.
    """
    file = weights_dir / f"{name}-v{version}.tflite"
    config = read_noted(run)
    to_litert(load(run), file)
    spec = unmeasured(config, architecture_of(run), name, version, file)
    detector = Detector(spec, LiteRTClassifier(spec))
    samples = read_manifests(config.manifests)
    held_out = _scored(samples, "calibration", detector)
    spec = replace(spec, image=image_point(held_out), video=video_point(held_out, spec.quality.min_frames))
    val = _scored(samples, "val", replace(detector, spec=spec))
    described = entry(spec, metrics_of(len(held_out.samples), val, spec))
    registry = weights_dir / REGISTRY
    document = tomllib.loads(registry.read_text(encoding="utf-8")) if registry.exists() else {"models": {}}
    document["default"] = name
    document["models"][name] = described
    registry.write_text(tomli_w.dumps(document), encoding="utf-8")
    return tomli_w.dumps({"models": {name: described}})


def _scored(samples: Sequence[Sample], split: str, detector: Detector) -> Faces:
    return score_faces([s for s in samples if s.split == split], detector, what=split)


def image_point(held_out: Faces | Scores) -> OperatingPoint:
    """The operating point of stills: every face is a picture by itself, thresholds are quantiles of real ones."""
    scores = Scores(held_out.samples, held_out.logits)
    calibration = calibrate.fit(scores)
    reals = calibration.apply(held_out.logits[_labels(held_out.samples) == 0])
    return _point(calibration, *(calibrate.threshold_for(reals, rate) for rate in _RATES))


def video_point(held_out: Faces | Scores, min_frames: int) -> OperatingPoint:
    """The operating point of videos. There are too few for quantiles, so thresholds rest on one of two other grounds,
    whichever asks for less: the prediction limit for one more person, or the quantile of single faces, since the
    mean of many frames spreads less than one of them.

    Where a collection has no videos at all, stills have to do: they spread more, so alarms get rarer.
    """
    frames = Counter(s.video for s in held_out.samples)
    chosen = [i for i, s in enumerate(held_out.samples) if frames[s.video] >= min_frames]
    videos = by_video(Scores(tuple(held_out.samples[i] for i in chosen), held_out.logits[chosen]))
    labels = _labels(videos.samples)
    people = [s.group for s, label in zip(videos.samples, labels, strict=True) if label == 0]
    if len(set(people)) < 3 or not labels.any():
        return image_point(held_out)
    calibration = calibrate.fit(videos)
    faces = held_out.logits[_labels(held_out.samples) == 0]
    limits = [
        min(calibrate.prediction_limit(videos.logits[labels == 0], people, rate), calibrate.threshold_for(faces, rate))
        for rate in _RATES
    ]
    return _point(calibration, *(float(v) for v in calibration.apply(np.array(limits, np.float32))))


_RATES = (SUSPICIOUS_FALSE_ALARMS, MANIPULATED_FALSE_ALARMS)


def _labels(samples: Sequence[Sample]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([s.label for s in samples], np.int64)


def _point(calibration: calibrate.Calibration, suspicious: float, manipulated: float) -> OperatingPoint:
    # Rounded up to what a page shows: a score that reads "0.97" and a threshold that reads "0.97" must agree.
    limits = (min(0.99, max(0.5, math.ceil(100 * value) / 100)) for value in (suspicious, manipulated))
    return OperatingPoint(round(calibration.slope, 5), round(calibration.intercept, 5), *limits)


def architecture_of(run: Path) -> str:
    """What is in the folder ``run``: "mobilenetv2", or for an ensemble "mobilenetv2 + mobilenetv2-linear"."""
    return " + ".join(read_noted(member).architecture for member in members_of(run))


def unmeasured(config: Config, architecture: str, name: str, version: str, file: Path) -> ModelSpec:
    """The model of a file whose operating points and figures are not known yet."""
    return ModelSpec(
        name=name,
        version=version,
        path=file,
        sha256=sha256_of(file),
        architecture=architecture,
        input_size=config.input_size,
        crop_margin=config.crop_margin,
        image=NEUTRAL,
        video=NEUTRAL,
        quality=QUALITY,
        metrics={},
        data=DATA,
        licence="the weights are ours; for commercial use see the terms of the data that they were trained on",
    )


def metrics_of(calibration_faces: int, val: Faces, spec: ModelSpec) -> dict[str, Any]:
    """The figures that the registry carries; ``evaluate`` writes down all the others."""
    judged = judge_videos(val, spec)
    labels = judged.labels
    alarms = int((judged.having((Verdict.MANIPULATED,)) & (labels == 0)).sum())
    reals = int((labels == 0).sum())
    rows = auc_by_origin(Scores(val.samples, val.logits))
    error = metrics.calibration_error(labels, judged.scores, metrics.ones(len(labels)))[0]
    return {
        "validation_auc": {row["origin"]: [row["auc"], row["low"], row["high"]] for row in rows},
        "validation_real": reals,
        "validation_false_alarms": alarms,
        "validation_false_alarm_rate_upper_95": round(metrics.upper_bound(alarms, reals), 4),
        "validation_manipulated": int((labels == 1).sum()),
        "validation_detected": int((judged.having((Verdict.MANIPULATED,)) & (labels == 1)).sum()),
        "validation_ece": round(float(error), 4),
        "calibration_faces": calibration_faces,
    }


def entry(spec: ModelSpec, figures: dict[str, Any]) -> dict[str, Any]:
    """A model's entry in the registry, with its figures."""
    return {
        "version": spec.version,
        "file": spec.path.name,
        "sha256": spec.sha256,
        "architecture": spec.architecture,
        "input_size": spec.input_size,
        "crop_margin": spec.crop_margin,
        "licence": spec.licence,
        "data": list(spec.data),
        "image": asdict(spec.image),
        "video": asdict(spec.video),
        "quality": asdict(spec.quality),
        "metrics": figures,
    }
