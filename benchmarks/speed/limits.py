"""The pipeline beside what it cannot do without: decoding the frames that it looks at, and scoring its crops."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.files import File
from benchmarks.speed.machine import multiplications
from benchmarks.speed.multiply_adds import multiply_adds
from benchmarks.speed.report import Goal, Report, Table, median
from detection.engine.classifier import Classifier, Prediction
from detection.engine.faces import BLAZEFACE_MODEL
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.media import Limits, Media, open_media
from detection.engine.pipeline import Pipeline, open_here
from detection.engine.sandbox import Sandbox
from detection.engine.types import Mode

MOST_FRAMES = 750  # of a video that is decoded whole: longer ones are reckoned from so many
GOAL = 1.5
HEAD = [
    *("file", "pipeline, s", "decode the same frames + score the same crops, s", "ratio", "without sandbox, ratio"),
    *("decode, s", "in the sandbox, s", "score, s", "faces", "least for these, s", "decode all frames, s"),
]
Way = Callable[[], object]


@dataclass(slots=True)
class Work:
    """What one run of the pipeline asked of the decoder and of the network."""

    samples: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    crops: list[NDArray[np.uint8]] = field(default_factory=list)

    @property
    def faces(self) -> int:
        return sum(map(len, self.crops))


class NotingMedia:
    """A file that notes which frames are asked for."""

    def __init__(self, media: Media, work: Work) -> None:
        self._media, self._work = media, work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._media, name)

    def sample(self, *values: Any, **options: Any) -> Any:
        self._work.samples.append((values, options))
        return self._media.sample(*values, **options)

    def __enter__(self) -> NotingMedia:
        return self

    def __exit__(self, *_: object) -> None:
        self._media.close()


class NotingClassifier:
    """A classifier that keeps what it is shown."""

    def __init__(self, classifier: Classifier, work: Work) -> None:
        self._classifier, self._work = classifier, work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def predict(self, crops: NDArray[np.uint8]) -> Prediction:
        self._work.crops.append(crops)
        return self._classifier.predict(crops)


@contextmanager
def noting(pipeline: Pipeline, work: Work) -> Any:
    opener, classifier = pipeline._open, pipeline._classifier
    pipeline._open = lambda *values, **options: NotingMedia(opener(*values, **options), work)
    pipeline._classifier = NotingClassifier(classifier, work)
    try:
        yield
    finally:
        pipeline._open, pipeline._classifier = opener, classifier


def decode(path: Path, work: Work, opener: Any) -> int:
    """The same frames as the pipeline, thrown away. Returns how many."""
    with opener(path, limits=Limits(), waiting=lambda: None, mode=Mode.STANDARD) as media:
        return sum(1 for values, options in work.samples for _ in media.sample(*values, **options))


def decode_all(path: Path) -> int:
    """Every frame, as fast as FFmpeg can, up to ``MOST_FRAMES``; not converted to RGB. Returns how many."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(1 for _ in itertools.islice(container.decode(stream), MOST_FRAMES))


def measure(files: Sequence[File], rounds: int) -> Report:
    sandboxed, here = build_pipeline(EngineConfig()), build_pipeline(EngineConfig(sandbox=None))
    classifier, sandbox = here._classifier, Sandbox()
    seconds: dict[str, dict[str, list[float]]] = {file.name: defaultdict(list) for file in files}
    works: dict[str, Work] = {}
    ways: dict[str, dict[str, Way]] = {}
    for file in files:
        work = works[file.name] = Work()
        with noting(here, work):
            here.run(file.path)
        sandboxed.run(file.path)
        ways[file.name] = {
            "pipeline": lambda file=file: sandboxed.run(file.path),
            "decode": lambda file=file, work=work: decode(file.path, work, open_here),
            "score": lambda work=work: [classifier.predict(crops) for crops in work.crops],
            "pipeline here": lambda file=file: here.run(file.path),
            "decode in sandbox": lambda file=file, work=work: decode(file.path, work, sandbox),
        }
        if file.is_video:
            ways[file.name]["decode all"] = lambda file=file: decode_all(file.path)
    for _, file in itertools.product(range(rounds), files):
        for way, do in ways[file.name].items():
            began = time.perf_counter()
            do()
            seconds[file.name][way].append(time.perf_counter() - began)
    return _report(files, seconds, works, sandboxed, rounds)


def _frames(path: Path) -> int:
    with open_media(path) as media:
        return media.info.frame_count or 0


def _report(
    files: Sequence[File],
    seconds: dict[str, dict[str, list[float]]],
    works: dict[str, Work],
    pipeline: Pipeline,
    rounds: int,
) -> Report:
    speed, cost = multiplications(), multiply_adds(pipeline.spec.path)
    table, report = Table("Against limits", HEAD), Report()
    for file in files:
        took = {way: median(values) for way, values in seconds[file.name].items()}
        floor, faces = took["decode"] + took["score"], works[file.name].faces
        least = faces * cost / speed
        everything = took.get("decode all", 0.0)
        if file.is_video:
            everything *= max(1.0, _frames(file.path) / MOST_FRAMES)
        table.add(
            *(file.name, took["pipeline"], floor, took["pipeline"] / floor, took["pipeline here"] / floor),
            *(took["decode"], took["decode in sandbox"], took["score"], faces, least),
            everything if file.is_video else "–",
        )
        report.goals.append(Goal(f"{file.name}: pipeline over its floor", took["pipeline"] / floor, GOAL, "x"))
        report.figures[file.name] = {"seconds": seconds[file.name], "faces": faces, "all_frames": everything}
    table.notes = [
        f"Medians of {rounds} rounds in which all ways take turns. The floor decodes in this process; the pipeline as "
        "it is served decodes in a sandbox and finds the faces besides.",
        f"Least: {cost / 1e6:.0f} million multiply-adds a face (convolutions and fully connected layers, counted in "
        f"the model's file) at the {speed / 1e9:.0f} billion a second that NumPy's float32 matrix product reaches "
        "here, all cores. The search for faces takes "
        f"{multiply_adds(BLAZEFACE_MODEL) / 1e6:.0f} million for each view of a frame besides.",
        f"Decode all: every frame by FFmpeg (PyAV), not converted; of long videos {MOST_FRAMES}, the rest reckoned.",
    ]
    report.tables.append(table)
    report.figures["machine"] = {"multiply_adds_a_second": speed, "multiply_adds_a_face": cost}
    return report
