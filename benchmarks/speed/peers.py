"""The same files as older servers do them: a Keras network's ``predict`` on frame after frame, in their ways.

Time only. The networks have random weights, which multiply as fast as trained ones; what they would say is not looked
at. Needs requirements-training.txt.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.files import File
from benchmarks.speed.report import Report, Table, median
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.networks import efficientnetb0, mesonet

RGB = NDArray[np.uint8]
CASCADE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
Seen = Callable[[RGB], object]


@dataclass(frozen=True, slots=True)
class Peer:
    """``look`` is what is done with one frame."""

    name: str
    look: Seen


def peers(*, small: bool) -> list[Peer]:
    """All of them, or those alone that are quickly made."""
    meso = _network(mesonet.mesoinception4(), mesonet.INPUT_SIZE)
    quick = [
        Peer("MesoInception4, every frame", meso),
        Peer("Haar cascade + MesoInception4 on the largest face", _largest_face(meso)),
    ]
    if small:
        return quick
    return [*quick, Peer("EfficientNetB0, every frame", _network(efficientnetb0.build(), efficientnetb0.INPUT_SIZE))]


def _network(model: Any, side: int) -> Seen:
    """One picture, one call of ``predict``, as in their request handlers."""

    def look(picture: RGB) -> object:
        small = cv2.resize(picture, (side, side))
        return model.predict(small[None], verbose=0)

    look(np.zeros((side, side, 3), np.uint8))  # builds its graph
    return look


def _largest_face(judge: Seen) -> Seen:
    """Finds faces as OpenCV's tutorial and so nearly everybody does; a frame without one is not judged."""
    cascade = cv2.CascadeClassifier(str(CASCADE))
    if cascade.empty():
        raise FileNotFoundError(f"no cascade in {CASCADE}; OpenCV 5 comes without")

    def look(picture: RGB) -> object:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        faces = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5)
        if len(faces) == 0:
            return None
        x, y, width, height = max(faces, key=lambda box: box[2] * box[3])
        return judge(picture[y : y + height, x : x + width])

    return look


def frames(path: Path, most: int) -> Iterator[RGB]:
    """The first ``most`` frames, read with OpenCV as they do."""
    video = cv2.VideoCapture(str(path))
    try:
        for _ in range(most):
            there, picture = video.read()
            if not there:
                return
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        video.release()


def measure(files: Sequence[File], rounds: int, most: int, *, small: bool = False) -> Report:
    """``most``: frames of each file that a peer does; the rest are reckoned from these."""
    pipeline, others = build_pipeline(EngineConfig()), peers(small=small)
    ours: dict[str, list[float]] = defaultdict(list)
    theirs: dict[tuple[str, str], list[float]] = defaultdict(list)
    total = {file.name: _count(file.path) for file in files}
    for file in files:
        pipeline.run(file.path)
    for _, file in itertools.product(range(rounds), files):
        began = time.perf_counter()
        pipeline.run(file.path)
        ours[file.name].append(time.perf_counter() - began)
        for peer in others:
            began = time.perf_counter()
            done = 0
            for done, picture in enumerate(frames(file.path, most), start=1):  # noqa: B007
                peer.look(picture)
            theirs[file.name, peer.name].append((time.perf_counter() - began) / done * total[file.name])
    return _report(files, ours, theirs, total, rounds, most)


def _count(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    try:
        return int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        video.release()


def _report(
    files: Sequence[File],
    ours: dict[str, list[float]],
    theirs: dict[tuple[str, str], list[float]],
    total: dict[str, int],
    rounds: int,
    most: int,
) -> Report:
    report = Report()
    table = Table("Against peers", ["file", "frames", "who", "seconds", "times real time", "ratio to Veriframe"])
    for file in files:
        mine = median(ours[file.name])
        table.add(file.name, total[file.name], "**Veriframe**", mine, file.seconds / mine, "1")
        for (name, peer), values in theirs.items():
            if name == file.name:
                took = median(values)
                table.add(file.name, total[file.name], peer, took, file.seconds / took, took / mine)
    table.notes = [
        f"Medians of {rounds} rounds in which all take turns, in one process and without a site. Peers read with "
        "OpenCV and call `model.predict` on one picture at a time (Keras on TensorFlow), at 256 pixels (MesoInception4)"
        " and 224 (EfficientNetB0). **Their weights are random**: this compares time only. They do the first "
        f"{most} frames of a file; their seconds for all frames are reckoned from these.",
        "Veriframe looks at no more frames than it samples, and finds, follows and judges every face in them. The "
        f"cascade is OpenCV's `{CASCADE.name}`, scale factor 1.1, 5 neighbours.",
    ]
    report.tables.append(table)
    report.figures = {
        file.name: {
            "veriframe": ours[file.name],
            **{peer: values for (name, peer), values in theirs.items() if name == file.name},
        }
        for file in files
    }
    return report
