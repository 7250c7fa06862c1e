"""The way of one file: read, find faces, follow them, score them, judge."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Protocol

import cv2

from detection.engine import aggregation
from detection.engine.album import MOST_PICTURES, Album
from detection.engine.classifier import Classifier
from detection.engine.faces import FaceDetector
from detection.engine.media import Limits, Media, open_media, sample_count
from detection.engine.registry import ModelSpec
from detection.engine.sampling import frames_wanted
from detection.engine.scoring import Challenger, Crop, cut, judge_tracks, score_crops
from detection.engine.search import Follower
from detection.engine.types import (
    AnalysisResult,
    Event,
    Frame,
    MediaInfo,
    MediaKind,
    Mode,
    Progress,
    Scored,
    Stage,
    Waiting,
)

Listener = Callable[[Event], None]

# Fewer frames are looked at in one pass: half of them would hardly ever settle anything.
LEAST_FOR_TWO_PASSES = 4 * aggregation.SETTLED_FACES
# Bytes that the other half may take while it waits: 16 frames of 1080p. Larger ones are looked at in one pass, too.
MOST_HELD = 128 << 20


class Opener(Protocol):
    """What a pipeline opens its files with."""

    def __call__(self, path: Path, *, limits: Limits, waiting: Callable[[], None], mode: Mode) -> Media:
        """See :func:`open_media`. ``waiting`` is called now and then while a picture is waited for; it may raise."""
        ...


def open_here(path: Path, *, limits: Limits, waiting: Callable[[], None], mode: Mode) -> Media:
    """Decode in this thread, which cannot do anything else meanwhile."""
    del waiting, mode
    return open_media(path, limits=limits)


def ignore(event: Event) -> None:
    """The listener of somebody who does not want to know."""
    del event


class Stopwatch:
    """Adds up seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - start


@dataclass(slots=True)
class _Run:
    """What one analysis collects."""

    listener: Listener
    mode: Mode
    album: Album
    challenger: Challenger | None = None
    kind: MediaKind = MediaKind.IMAGE  # until the file is open and says what it is
    watch: Stopwatch = field(default_factory=Stopwatch)
    waiting: list[Crop] = field(default_factory=list)
    frames_done: int = 0


class Pipeline:
    """Analyses files, one after the other. Not safe to share between threads.

    Unless ``adaptive`` is false, every other of a video's frames is looked at first: if they settle the matter, only
    they are (:func:`aggregation.is_settled`), and as soon as one of their faces rises all the others are. Those wait
    meanwhile: to decode them later would take as long again, since a frame leans on what lies before it.

    Memory is bounded by ``frames`` times ``max_faces`` crops of the network's input size and ``MOST_HELD`` bytes,
    whatever the length of the media. A thorough run keeps the crops that an :class:`Album` keeps, and figures of every
    face.
    """

    def __init__(
        self,
        *,
        spec: ModelSpec,
        classifier: Classifier,
        face_detector: FaceDetector,
        frames: int = 32,
        batch_size: int = 8,
        max_faces: int = 12,
        limits: Limits | None = None,
        opener: Opener = open_here,
        adaptive: bool = True,
    ) -> None:
        self.spec = spec
        self._classifier = classifier
        self._face_detector = face_detector
        self._frames = frames
        self._batch_size = batch_size
        self._max_faces = max_faces
        self._limits = limits or Limits()
        self._open = opener
        self._adaptive = adaptive

    def run(
        self,
        path: Path,
        on_event: Listener = ignore,
        *,
        challenger: Challenger | None = None,
        mode: Mode = Mode.STANDARD,
    ) -> AnalysisResult:
        """Analyse one file.

        Args:
            path: a video or an image.
            on_event: told of progress and of new scores; may raise ``Cancelled`` to stop the run.
            challenger: shown every face that is found. It keeps all their crops: not for a thorough run.
            mode: how closely a video is looked at.

        Raises:
            EngineError: the file cannot be analysed; code and message say why.
            MemoryError: there is not enough of it for this file.
        """
        try:
            album = Album(MOST_PICTURES if mode is Mode.THOROUGH else None)
            return self._analyse(path, _Run(on_event, mode, album, challenger))
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:  # OpenCV's own word for it
                raise MemoryError(error.err) from error
            raise

    def _analyse(self, path: Path, run: _Run) -> AnalysisResult:
        with run.watch("total"):
            with run.watch("probe"):
                media = self._open(path, limits=self._limits, waiting=lambda: run.listener(Waiting()), mode=run.mode)
            with media:
                run.kind = media.info.kind
                self._score_media(media, run)
                with run.watch("aggregate"):
                    tracks = judge_tracks(run.album.scores, media.info, self.spec)
                    verdict, score, reasons = aggregation.judge_file(tracks)
        flagged = {s.time for s in run.album.scores if s.flagged}
        return AnalysisResult(
            media=media.info,
            verdict=verdict,
            score=score,
            reasons=reasons,
            tracks=tracks,
            total_frames=run.frames_done,
            deepfake_frames=len(flagged),
            model=self.spec.info(media.info.kind),
            timings={stage: round(seconds, 4) for stage, seconds in run.watch.seconds.items()},
        )

    def _score_media(self, media: Media, run: _Run) -> None:
        count = frames_wanted(run.mode, self._frames, media.info.duration)
        total = sample_count(media.info, count)
        run.listener(Progress(Stage.PROBING, 0, total))
        frames = media.sample(count, exact=run.mode is Mode.THOROUGH)
        twice = self._may_settle_early(media.info, total, run)
        follower = Follower(self._face_detector, self._max_faces, twice=twice)
        if twice:
            others: deque[Frame] = deque()
            self._look_at(_every_other(frames, others), follower, total, run, until_one_rises=True)
            if not self._is_settled(media.info, run):
                follower.begin_again()
                self._look_at(chain(_emptied(others), frames), follower, total, run)
                run.album.rename(follower.renamed())
        else:
            self._look_at(frames, follower, total, run)
        run.listener(Progress(Stage.EXPLAINING, run.frames_done, run.frames_done))

    def _may_settle_early(self, media: MediaInfo, total: int, run: _Run) -> bool:
        """Whether it is worth while to try. What is clear to one model need not be to the other, so no challenger."""
        held = total // 2 * media.width * media.height * 3
        enough = total >= LEAST_FOR_TWO_PASSES and held <= MOST_HELD
        return self._adaptive and run.mode is Mode.STANDARD and run.challenger is None and enough

    def _is_settled(self, media: MediaInfo, run: _Run) -> bool:
        with run.watch("aggregate"):
            return aggregation.is_settled(judge_tracks(run.album.scores, media, self.spec), self.spec, media.kind)

    def _look_at(
        self, frames: Iterator[Frame], follower: Follower, total: int, run: _Run, *, until_one_rises: bool = False
    ) -> None:
        while not (until_one_rises and any(aggregation.rises(s, self.spec, run.kind) for s in run.album.scores)):
            with run.watch("decode"):
                frame = next(frames, None)
            if frame is None:
                break
            self._find_faces(frame, follower, run)
            run.frames_done += 1
            # The first ones at once: somebody is watching.
            if len(run.waiting) >= (self._batch_size if run.album.scores else 1):
                self._score_waiting(run)
            run.listener(Progress(Stage.SCORING, run.frames_done, max(total, run.frames_done)))
        self._score_waiting(run)

    def _find_faces(self, frame: Frame, follower: Follower, run: _Run) -> None:
        with run.watch("faces"):
            tracked = follower.see(frame)
        with run.watch("crop"):
            run.waiting += [cut(self.spec, frame, track, face) for track, face in tracked]
        if run.challenger is not None:
            run.challenger.see(frame, tracked)

    def _score_waiting(self, run: _Run) -> None:
        if not run.waiting:
            return
        crops, run.waiting = run.waiting, []
        with run.watch("classify"):
            new = score_crops(self.spec, self._classifier, crops, run.kind)
        run.album.add(new)
        # One point a frame: the worst of the faces that count.
        worst: dict[float, float] = {}
        for s in new:
            if aggregation.unusable_because(s.quality, self.spec.quality, run.kind) is None:
                worst[s.time] = max(s.score, worst.get(s.time, 0.0))
        if worst:
            run.listener(Scored(tuple(worst.items())))


def _every_other(frames: Iterator[Frame], others: deque[Frame]) -> Iterator[Frame]:
    """The first of ``frames``, the third and so on; those between go to ``others``."""
    for number, frame in enumerate(frames):
        if number % 2:
            others.append(frame)
        else:
            yield frame


def _emptied(frames: deque[Frame]) -> Iterator[Frame]:
    """``frames``, none kept for longer than it is needed."""
    while frames:
        yield frames.popleft()
