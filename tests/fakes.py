"""An engine that does what a test says. Only for the state machine around it; the engine's tests use the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from detection.engine.types import (
    AnalysisResult,
    Box,
    Event,
    FaceScore,
    MediaInfo,
    MediaKind,
    Mode,
    ModelInfo,
    Progress,
    Quality,
    Scored,
    Segment,
    Stage,
    TrackResult,
    Verdict,
)

MODEL = ModelInfo("fake", "7", "f" * 64, threshold=0.8, suspicious_threshold=0.6)
MEDIA = MediaInfo(MediaKind.VIDEO, "video/mp4", 640, 360, "h264", duration=4.0, fps=25.0)


def face(frame: int, score: float, track: int = 0) -> FaceScore:
    return FaceScore(
        track=track,
        index=frame * 10,
        time=frame * 0.4,
        box=Box(10, 10, 60, 60),
        crop_box=Box(-4, 0, 70, 70),
        confidence=0.9,
        quality=Quality(face_size=50.0 + frame, sharpness=80.0, brightness=110.0, detail=1.0),
        logit=0.0,
        score=score,
        flagged=score >= MODEL.threshold,
        evidence=np.full((2, 2), 3.0, np.float32),
        crop=np.full((32, 32, 3), 128, np.uint8),
    )


class FakePipeline:
    """Tells of ``frames`` frames, one face each, and judges by the highest score.

    ``between`` is called before every frame with its number: a test lets the world change there, or raises.
    """

    def __init__(self, frames: int = 4, *, between: Callable[[int], None] = lambda frame: None) -> None:
        self.frames = frames
        self.between = between
        self.runs = 0
        self.modes: list[Mode] = []  # in which it was asked to look

    def __call__(self) -> FakePipeline:
        """The runner asks a function for its engine."""
        return self

    def run(
        self, path: Path, on_event: Callable[[Event], None], challenger: Any = None, mode: Mode = Mode.STANDARD
    ) -> AnalysisResult:
        assert path.is_file()
        self.runs += 1
        self.modes.append(mode)
        on_event(Progress(Stage.PROBING, 0, self.frames))
        scores = tuple(self._score(on_event))
        on_event(Progress(Stage.EXPLAINING, self.frames, self.frames))
        track = TrackResult(0, 0.9, Verdict.MANIPULATED, (), (Segment(0.0, 0.8),), scores)
        return AnalysisResult(
            media=MEDIA,
            verdict=Verdict.MANIPULATED,
            score=0.9,
            reasons=(),
            tracks=(track,),
            total_frames=self.frames,
            deepfake_frames=sum(score.flagged for score in scores),
            model=MODEL,
            timings={"total": 0.1},
        )

    def _score(self, on_event: Callable[[Event], None]) -> Iterator[FaceScore]:
        for frame in range(self.frames):
            self.between(frame)
            score = face(frame, (frame + 1) / (self.frames + 1))
            on_event(Scored(((score.time, score.score),)))
            on_event(Progress(Stage.SCORING, frame + 1, self.frames))
            yield score
