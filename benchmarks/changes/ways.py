"""The engine as it is, and with each change taken back.

What a change did is undone from outside, in a pipeline of its own: the engine knows nothing of it. Whatever cannot be
undone like this is measured by taking an older commit instead (see :mod:`benchmarks.changes.apart`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from benchmarks.changes.measuring import Outcome, Run, measure
from benchmarks.decode_budget import KEYFRAMES, RATE, encoded
from benchmarks.face_search import Everywhere
from benchmarks.speed.files import File
from detection.engine import faces, media, sampling
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.media import Media
from detection.engine.pipeline import Pipeline
from detection.engine.runtimes import litert
from detection.engine.types import Frame

THREADS = 2
LONGER = 30.0  # seconds of the video that the clips of the validation set stand for when sampling is looked at


@dataclass(frozen=True, slots=True)
class Change:
    """``done`` instead of ``before``. ``looks`` if it changes what is looked at, and so may change scores.

    Attributes:
        now: the engine with it.
        back: the same without.
        files: which of the files it concerns.
        validation: ``now`` and ``back`` for the clips of the validation set, where those would not show it.
    """

    done: str
    before: str
    now: Run
    back: Run
    looks: bool = False
    files: Callable[[File], bool] = field(default=lambda _: True)
    validation: tuple[Run, Run] | None = None


def run(pipeline: Pipeline, patches: AbstractContextManager[Any] | None = None) -> Run:
    """What runs files through it; ``patches`` hold meanwhile."""

    def measured(path: Path) -> Outcome:
        if patches is None:
            return measure(pipeline, path)
        with patches:
            return measure(pipeline, path)

    return measured


def changes(folder: Path) -> list[Change]:
    """Those that can be taken back in this process. ``folder`` is for copies of clips."""
    served, here = run(_pipeline()), _pipeline(sandbox=None)
    whole = run(_pipeline(adaptive=False))
    by_pillow = run(here, patch.object(media, "jpeg_pixels", lambda *_: None))
    copied = run(here, patch.multiple(media, jpeg_pixels=lambda *_: None, image_pixels=_pixels_copied))
    return [
        Change(
            done="faces are followed from frame to frame",
            before="looked for everywhere in each frame",
            now=whole,  # else half of the frames may settle a video in one of the two ways alone
            back=run(_everywhere()),
            looks=True,
            files=is_video,
        ),
        Change(
            done=f"{THREADS} networks of one thread each",
            before=f"one network of {THREADS} threads",
            now=served,
            back=run(_threads_inside()),
        ),
        Change(
            done=f"{THREADS} threads look for faces and score them",
            before="one thread",
            now=served,
            back=run(_pipeline(threads=1)),
        ),
        Change(
            done="the first face is scored at once",
            before="when eight of them wait",
            now=whole,
            back=run(_in_full_batches()),
            files=is_video,
        ),
        Change(
            done="files are decoded in a process of their own, beside the other work",
            before="in the same thread",
            now=served,
            back=run(here),
        ),
        Change(
            done="half of the frames first, and all where that does not settle it",
            before="all frames",
            now=served,
            back=whole,
            looks=True,
            files=is_video,
        ),
        Change(
            done="keyframes and frames close behind them",
            before="frames exactly where they lie evenly, whatever must be decoded for them",
            now=whole,
            back=run(_exact(_pipeline(adaptive=False))),
            looks=True,
            files=lambda file: file.seconds > LONGER / 2,  # shorter ones are decoded from end to end either way
            validation=_sampled(_pipeline(sandbox=None, adaptive=False), folder),
        ),
        Change(
            done="a picture is not copied once it is decoded",
            before="two copies",
            now=by_pillow,  # in this process, where it can be undone
            back=copied,
            files=lambda file: not file.is_video,
        ),
        Change(
            done="a JPEG is decoded straight into an array",
            before="by Pillow, and read out of it",
            now=run(here),
            back=by_pillow,
            files=lambda file: not file.is_video,
        ),
    ]


def is_video(file: File) -> bool:
    return file.is_video


def _pipeline(**options: Any) -> Pipeline:
    return build_pipeline(EngineConfig(**{"threads": THREADS, **options}))


def _everywhere() -> Pipeline:
    pipeline = _pipeline(adaptive=False)
    pipeline._face_detector = Everywhere(threads=THREADS)
    return pipeline


def _threads_inside() -> Pipeline:
    """One interpreter with all the threads, for the faces and for the scores."""

    def interpreter(**options: Any) -> Any:
        return original(**{**options, "num_threads": THREADS})

    original = litert.Interpreter
    with patch.object(litert, "Interpreter", interpreter), patch.object(faces, "Interpreter", interpreter):
        return _pipeline(threads=1)


class InFullBatches(Pipeline):
    """Nothing is scored before a whole batch waits, at the beginning as little as later."""

    def _score_waiting(self, run: Any) -> None:
        if run.album.scores or len(run.waiting) >= self._batch_size:
            super()._score_waiting(run)

    def _score_media(self, media: Any, run: Any) -> None:
        super()._score_media(media, run)
        super()._score_waiting(run)  # of a file that has less than one batch


def _in_full_batches() -> Pipeline:
    pipeline = _pipeline(adaptive=False)
    pipeline.__class__ = InFullBatches
    return pipeline


class ExactMedia:
    """A file of which exact frames are taken, whatever is asked for."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self.info = media.info

    def sample(self, count: int, **_: Any) -> Iterator[Frame]:
        return self._media.sample(count, exact=True)

    def __enter__(self) -> ExactMedia:
        return self

    def __exit__(self, *_: object) -> None:
        self._media.close()


def _exact(pipeline: Pipeline) -> Pipeline:
    opener: Any = pipeline._open
    pipeline._open = lambda *values, **options: ExactMedia(opener(*values, **options))  # type: ignore[assignment]
    return pipeline


def _sampled(here: Pipeline, folder: Path) -> tuple[Run, Run]:
    """Clips are short and decoded from end to end. So they get the keyframes and the share of a longer video's budget;
    see :mod:`benchmarks.decode_budget`.
    """
    frames = RATE * LONGER
    share = min(1.0, sampling.DECODE_BUDGET / frames)

    def copy_of(path: Path) -> Path:
        target = folder / path.name
        return target if target.exists() else encoded(path, folder, math.ceil(frames / KEYFRAMES))

    def near_keyframes(path: Path) -> Outcome:
        copy = copy_of(path)
        with media.open_media(copy) as clip:
            budget = round(share * (clip.info.frame_count or 0))
        with patch.object(sampling, "DECODE_BUDGET", budget):
            return measure(here, copy)

    exact = _exact(_pipeline(sandbox=None, adaptive=False))
    return near_keyframes, lambda path: measure(exact, copy_of(path))


def _pixels_copied(picture: Image.Image) -> Any:
    return np.array(picture.convert("RGB"))
