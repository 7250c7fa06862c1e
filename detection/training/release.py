"""Make a trained network the one that the engine serves: export, calibrate, measure, register."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from detection.engine.classifier import LiteRTClassifier
from detection.engine.registry import REGISTRY, ModelSpec, QualityLimits, sha256_of
from detection.training import calibrate
from detection.training.datasets import read_manifest
from detection.training.evaluate import Scores, auc_by_origin, by_video, score
from detection.training.export import to_litert
from detection.training.train import Config

# Share of real calibration faces that may reach each threshold.
MANIPULATED_FALSE_ALARMS = 0.01
SUSPICIOUS_FALSE_ALARMS = 0.05
QUALITY = QualityLimits(min_face_size=64.0, min_sharpness=8.0, min_brightness=25.0, min_detail=0.7, min_frames=4)
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


def release(config: Config, name: str, version: str, weights_dir: Path) -> str:
    """Write ``<name>-v<version>.tflite`` and its registry entry; returns the entry as TOML.

    Calibration and thresholds come from the calibration identities, which training does not see;
    the figures come from ``val``, which neither training nor calibration sees.
    """
    file = weights_dir / f"{name}-v{version}.tflite"
    to_litert(config.output / "final.weights.h5", file, input_size=config.input_size)
    spec = _unmeasured(config, name, version, file)
    classifier = LiteRTClassifier(spec)
    samples = read_manifest(config.manifest)

    def scored(split: str) -> Scores:
        chosen = [s for s in samples if s.split == split]
        return score(chosen, classifier, margin=spec.crop_margin, size=spec.input_size)

    held_out, val = scored("calibration"), scored("val")
    calibration = calibrate.fit(held_out)
    spec = replace(
        spec,
        slope=calibration.slope,
        intercept=calibration.intercept,
        suspicious=_threshold(held_out, calibration, SUSPICIOUS_FALSE_ALARMS),
        manipulated=_threshold(held_out, calibration, MANIPULATED_FALSE_ALARMS),
    )
    entry = _entry(spec, _metrics(held_out, val, calibration, spec.manipulated))
    registry = weights_dir / REGISTRY
    document = tomllib.loads(registry.read_text(encoding="utf-8")) if registry.exists() else {"models": {}}
    document["default"] = name
    document["models"][name] = entry
    registry.write_text(tomli_w.dumps(document), encoding="utf-8")
    return tomli_w.dumps({"models": {name: entry}})


def _unmeasured(config: Config, name: str, version: str, file: Path) -> ModelSpec:
    return ModelSpec(
        name=name,
        version=version,
        path=file,
        sha256=sha256_of(file),
        architecture="mobilenetv2",
        input_size=config.input_size,
        crop_margin=config.crop_margin,
        slope=1.0,
        intercept=0.0,
        suspicious=0.5,
        manipulated=0.5,
        quality=QUALITY,
        metrics={},
        data=DATA,
        licence="the weights are ours; for commercial use see the terms of the data that they were trained on",
    )


def _threshold(held_out: Scores, calibration: calibrate.Calibration, rate: float) -> float:
    labels = np.array([s.label for s in held_out.samples])
    reals = calibration.apply(held_out.logits[labels == 0])
    # Rounded up to what a page shows: a score that reads "0.97" and a threshold that reads "0.97" must agree.
    threshold = math.ceil(100 * calibrate.threshold_for(reals, rate)) / 100
    return min(0.99, max(0.5, threshold))


def _metrics(held_out: Scores, val: Scores, calibration: calibrate.Calibration, threshold: float) -> dict[str, Any]:
    videos = by_video(val)
    labels = np.array([s.label for s in videos.samples])
    probabilities = calibration.apply(videos.logits)
    alarms = int((probabilities[labels == 0] >= threshold).sum())
    reals = int((labels == 0).sum())
    return {
        "validation_auc": {row["origin"]: [row["auc"], row["low"], row["high"]] for row in auc_by_origin(val)},
        "validation_real": reals,
        "validation_false_alarms": alarms,
        "validation_false_alarm_rate_upper_95": round(calibrate.upper_bound(alarms, reals), 4),
        "validation_manipulated": int((labels == 1).sum()),
        "validation_detected": int((probabilities[labels == 1] >= threshold).sum()),
        "validation_ece": round(calibrate.expected_calibration_error(probabilities, labels), 4),
        "calibration_faces": len(held_out.samples),
    }


def _entry(spec: ModelSpec, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": spec.version,
        "file": spec.path.name,
        "sha256": spec.sha256,
        "architecture": spec.architecture,
        "input_size": spec.input_size,
        "crop_margin": spec.crop_margin,
        "licence": spec.licence,
        "data": list(spec.data),
        "calibration": {"slope": round(spec.slope, 5), "intercept": round(spec.intercept, 5)},
        "thresholds": {"suspicious": spec.suspicious, "manipulated": spec.manipulated},
        "quality": asdict(spec.quality),
        "metrics": metrics,
    }
