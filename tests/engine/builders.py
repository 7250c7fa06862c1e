"""Small, explicit values for engine tests."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name

import numpy as np

from detection.engine.registry import ModelSpec, OperatingPoint, QualityLimits
from detection.engine.types import Box, FaceScore, MediaInfo, MediaKind, Quality

GOOD = Quality(face_size=150.0, sharpness=100.0, brightness=120.0, detail=1.0)
VIDEO = MediaInfo(MediaKind.VIDEO, "video/mp4", 640, 360, "h264", duration=10.0, fps=25.0, frame_count=250)
IMAGE = MediaInfo(MediaKind.IMAGE, "image/jpeg", 640, 360, "jpeg")

POINT = OperatingPoint(slope=1.0, intercept=0.0, suspicious=0.6, manipulated=0.8)

SPEC = ModelSpec(
    name="test",
    version="1",
    path=Path("test.tflite"),
    sha256="0" * 64,
    architecture="mobilenetv2",
    input_size=32,
    crop_margin=2.9,
    image=POINT,
    video=POINT,
    quality=QualityLimits(min_face_size=64, min_sharpness=8, min_brightness=25, min_detail=0.7, min_frames=4),
    metrics={},
    data=(),
    licence="none",
)


def face_score(
    logit: float = 0.0,
    *,
    time: float = 0.0,
    track: int = 0,
    quality: Quality = GOOD,
    flagged: bool = False,
    evidence: np.ndarray | None = None,
    **changes: float,
) -> FaceScore:
    """A score of a face; ``changes`` are changes of its quality."""
    return FaceScore(
        track=track,
        index=round(time * 25),
        time=time,
        box=Box(10, 10, 60, 60),
        crop_box=Box(0, 0, 70, 70),
        confidence=0.9,
        quality=replace(quality, **changes),
        logit=logit,
        score=1 / (1 + np.exp(-logit)),
        flagged=flagged,
        evidence=np.zeros((2, 2), np.float32) if evidence is None else evidence,
        crop=np.full((32, 32, 3), 128, np.uint8),
    )


def lively_weights(model, rng: np.random.Generator) -> None:
    """Give a network weights that keep signals alive: fresh ones end in logits of 1e-7, which prove nothing."""
    for variable in model.trainable_variables:
        if variable.name in ("gamma", "beta"):
            continue  # batch normalisation is folded into the weights that we start from
        shape = variable.shape
        by_channel = "depthwise" in variable.path or "dwconv" in variable.path
        fan_in = shape[0] * shape[1] if by_channel else np.prod(shape[:-1]) or 1
        variable.assign(rng.normal(0, 1.6 / np.sqrt(fan_in), shape))
        if variable.path.endswith("se_expand/bias"):
            variable.assign(np.full(shape, 4.0))  # gates that are half shut, one after the other, let nothing through


def short_efficientnet(monkeypatch, folder: Path) -> Path:
    """Let EfficientNetB0 have a block of each of four stages, and Keras find "imagenet" weights for it without a
    network: drawn ones, in the file that is returned. All else is Keras' own code.
    """
    theirs = resolve_name("keras.src.applications.efficientnet")
    stages = [{**stage, "repeats": 1} for stage in theirs.DEFAULT_BLOCKS_ARGS if stage["strides"] == 2]
    build = partial(theirs.EfficientNet, 1.0, 1.0, 224, blocks_args=stages, weights_name="b0")
    backbones = resolve_name("detection.engine.networks.backbones").BACKBONES
    monkeypatch.setitem(backbones, "efficientnetb0", backbones["efficientnetb0"]._replace(build=build))
    published, path = build(include_top=False, weights=None), folder / "published.weights.h5"
    lively_weights(published, np.random.default_rng(2))
    (known,) = (layer for layer in published.layers if type(layer).__name__ == "Normalization")
    known.set_weights([np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225)), np.array(0)])
    published.save_weights(path)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(path))
    return path
