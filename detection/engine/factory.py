"""Builds a ready pipeline from plain configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from detection.engine import runtimes
from detection.engine.errors import ModelError
from detection.engine.faces import BlazeFaceDetector, FaceDetector, YuNetDetector
from detection.engine.media import Limits
from detection.engine.pipeline import Pipeline, open_here
from detection.engine.registry import WEIGHTS, ModelSpec, find_model
from detection.engine.sandbox import Sandbox
from detection.engine.wire import Bounds

FaceDetectorName = Literal["blazeface", "yunet"]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything that can be set about an analysis."""

    model: str | None = None  # name or label; None: the registry's default
    version: str | None = None  # None: the shipped one, or the only one installed
    weights_dir: Path | None = None  # None: the weights that we ship
    models_dir: Path | None = None  # of installed models; None: there are none
    runtime: runtimes.RuntimeName = "auto"
    face_detector: FaceDetectorName = "blazeface"
    yunet_model: Path | None = None  # ONNX file, needed for "yunet"
    frames: int = 32  # at most so many frames of a video are looked at
    adaptive: bool = True  # half of them first, and the others only where that does not settle it
    batch_size: int = 8  # faces scored between two reports of scores, or as many as the network likes at once
    threads: int = 2  # in which faces are looked for and scored
    limits: Limits = field(default_factory=Limits)
    sandbox: Bounds | None = field(default_factory=Bounds)  # None: files are decoded in this process


def build_pipeline(config: EngineConfig | None = None) -> Pipeline:
    """Load model and face detector. Raises ModelError when one of them is missing or was changed."""
    config = config or EngineConfig()
    weights = config.weights_dir or WEIGHTS
    return pipeline_of(find_model(config.model, config.version, folder=weights, installed=config.models_dir), config)


def pipeline_of(spec: ModelSpec, config: EngineConfig) -> Pipeline:
    """The same with a model at hand, whatever ``config`` says about models. Raises ModelError."""
    opener = open_here if config.sandbox is None else Sandbox(config.sandbox)
    classifier = runtimes.load(spec, threads=config.threads, runtime=config.runtime)
    return Pipeline(
        spec=spec,
        classifier=classifier,
        face_detector=_face_detector(config),
        frames=config.frames,
        batch_size=max(config.batch_size, classifier.batch_size),
        limits=config.limits,
        opener=opener,
        adaptive=config.adaptive,
    )


def _face_detector(config: EngineConfig) -> FaceDetector:
    if config.face_detector == "blazeface":
        return BlazeFaceDetector(threads=config.threads)
    if config.yunet_model is None:
        raise ModelError("The face detector YuNet needs a model file; none is configured.")
    return YuNetDetector(config.yunet_model)
