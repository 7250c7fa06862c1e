"""Crops of faces, what a model says of them, and a second model that looks over the first one's shoulder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from detection.engine import aggregation, preprocessing
from detection.engine.classifier import Classifier
from detection.engine.errors import ModelError
from detection.engine.registry import ModelSpec
from detection.engine.types import (
    Box,
    Face,
    FaceScore,
    FloatArray,
    Frame,
    MediaInfo,
    MediaKind,
    Quality,
    RGBImage,
    TrackResult,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Crop:
    """A face that waits to be scored, as one model wants to see it."""

    track: int
    frame_index: int
    time: float
    face: Face
    box: Box
    picture: RGBImage
    quality: Quality


def cut(spec: ModelSpec, frame: Frame, track: int, face: Face) -> Crop:
    """Cut a face out of its frame as the model wants it."""
    box = preprocessing.crop_box(face.landmarks, spec.crop_margin)
    picture = preprocessing.extract(frame.image, box, spec.input_size)
    quality = preprocessing.quality(frame.image, face, box, picture)
    return Crop(track, frame.index, frame.time, face, box, picture, quality)


def score_crops(spec: ModelSpec, classifier: Classifier, crops: Sequence[Crop], kind: MediaKind) -> list[FaceScore]:
    """What the model says of at least one crop, in the same order. Raises ModelError if that is no number."""
    prediction = classifier.predict(np.stack([crop.picture for crop in crops]))
    if not np.isfinite(prediction.logits).all():  # a comparison with a threshold would make a verdict of it
        raise ModelError(f"Model {spec.label!r} gave no number for a face.")
    maps = [None] * len(crops) if prediction.evidence is None else prediction.evidence
    return [
        _face_score(spec, crop, float(logit), evidence, kind)
        for crop, logit, evidence in zip(crops, prediction.logits, maps, strict=True)
    ]


def _face_score(spec: ModelSpec, crop: Crop, logit: float, evidence: FloatArray | None, kind: MediaKind) -> FaceScore:
    point = spec.point(kind)
    calibrated = aggregation.calibrate(logit, point)
    usable = aggregation.unusable_because(crop.quality, spec.quality, kind) is None
    return FaceScore(
        track=crop.track,
        index=crop.frame_index,
        time=crop.time,
        box=crop.face.box,
        crop_box=crop.box,
        confidence=crop.face.confidence,
        quality=crop.quality,
        logit=logit,
        score=calibrated,
        flagged=usable and calibrated >= point.manipulated,
        evidence=evidence,
        crop=crop.picture,
    )


def judge_tracks(scores: Sequence[FaceScore], media: MediaInfo, spec: ModelSpec) -> tuple[TrackResult, ...]:
    """Judge everybody in a file by their faces, in any order."""
    by_track: dict[int, list[FaceScore]] = {}
    for one in scores:
        by_track.setdefault(one.track, []).append(one)
    return tuple(
        aggregation.judge_track(track, sorted(own, key=lambda s: s.time), media, spec)
        for track, own in sorted(by_track.items())
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a challenger says of a file. ``seconds`` are what it took besides the pipeline's own work."""

    verdict: Verdict
    score: float | None
    seconds: float


class Challenger:
    """Another model's look at one file, beside a pipeline's: faces that it finds are also cut as this model wants them.

    The file is read once, and nothing is scored before :meth:`judge`: whoever waits for the pipeline's answer does not
    wait for this one. Memory: a crop for each face that was found. One for each file.
    """

    def __init__(self, spec: ModelSpec, *, batch_size: int = 8) -> None:
        self.spec = spec
        self._batch_size = batch_size
        self._crops: list[Crop] = []
        self._seconds = 0.0
        self._failed: Exception | None = None

    def see(self, frame: Frame, tracked: Sequence[tuple[int, Face]]) -> None:
        """Keep a frame's faces. Whatever goes wrong waits for :meth:`judge`: it must not disturb the pipeline."""
        if self._failed is not None:
            return
        start = perf_counter()
        try:
            self._crops += [cut(self.spec, frame, track, face) for track, face in tracked]
        except Exception as error:  # noqa: BLE001  (raised by judge)
            self._crops, self._failed = [], error
        self._seconds += perf_counter() - start

    def judge(self, media: MediaInfo, classifier: Classifier) -> Judgement:
        """The model's answer. Raises what went wrong in :meth:`see` or goes wrong in its classifier."""
        if self._failed is not None:
            raise self._failed
        start = perf_counter()
        scores: list[FaceScore] = []
        for first in range(0, len(self._crops), self._batch_size):
            batch = self._crops[first : first + self._batch_size]
            scores += score_crops(self.spec, classifier, batch, media.kind)
        verdict, calibrated, _reasons = aggregation.judge_file(judge_tracks(scores, media, self.spec))
        return Judgement(verdict, calibrated, self._seconds + perf_counter() - start)
