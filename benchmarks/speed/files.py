"""The files that are measured with: clips beside the checkout, and videos and photos that are made here.

A made video shows a portrait that wanders and grows before a textured ground that drifts, under grain, encoded as x264
does by default (a keyframe every 250 frames, B-frames). All movement comes back to where it began after twenty seconds:
longer ones repeat these, packet by packet, so that ten minutes are made in the time of twenty seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.site import FACE

RATE = 25  # frames a second
KEYFRAMES = 250  # frames from one to the next: x264's default
PERIOD = 20  # seconds until all movement begins anew: two keyframes
GRAIN = 5.0  # standard deviation, in grey levels: some 2 Mbit/s at 720 lines, as video on the web has
VERSION = 2  # of the pictures: another one makes all files anew

CLIPS = Path("../shared/data/clips")
CLIP_NAMES = ("val/real/036.mp4", "val/deepfakes/396_272.mp4", "val/face2face/980_992.mp4")

RGB = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class File:
    """One file; ``seconds`` is 0 for a photo."""

    name: str
    path: Path
    seconds: float = 0.0

    @property
    def is_video(self) -> bool:
        return self.seconds > 0


def clips(limit: int = len(CLIP_NAMES)) -> list[File]:
    """Some of the clips beside the checkout, as far as they are there."""
    found = [CLIPS / name for name in CLIP_NAMES[:limit] if (CLIPS / name).is_file()]
    return [File(f"clip {'/'.join(path.parts[-2:])}", path, float(_duration(path))) for path in found]


def _duration(path: Path) -> Fraction:
    """Seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        return stream.duration * stream.time_base


class Maker:
    """Makes files once and keeps them in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def video(self, height: int, seconds: float) -> File:
        """16:9 and so long; ``height`` in pixels."""
        path = self.folder / f"v{VERSION}-{height}p-{seconds}s.mp4"
        if not path.exists():
            period = self._period(height, PERIOD if seconds * RATE >= KEYFRAMES else seconds)
            _write(path, lambda target: _repeat(period, target, seconds))
        return File(f"{height}p, {_length(seconds)}", path, float(seconds))

    def photo(self, width: int, height: int) -> File:
        path = self.folder / f"v{VERSION}-{width}x{height}.jpg"
        if not path.exists():
            picture = Image.fromarray(Scene(width, height).at(7.0))
            _write(path, lambda target: picture.save(target, "JPEG", quality=92))
        return File(f"photo, {width * height / 1e6:.2g} megapixels", path)

    def _period(self, height: int, seconds: float) -> Path:
        """The pictures that a longer video repeats."""
        path = self.folder / f"v{VERSION}-{height}p-period-{seconds}s.mp4"
        if not path.exists():
            _write(path, lambda target: _encode(target, height, seconds))
        return path


def _length(seconds: float) -> str:
    return f"{seconds // 60:.0f} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds} s"


def _write(path: Path, make: Any) -> None:
    """A file that is there is whole."""
    unfinished = path.with_name(f"unfinished-{path.name}")
    make(unfinished)
    unfinished.rename(path)


class Scene:
    """What is to be seen at a time."""

    def __init__(self, width: int, height: int) -> None:
        self.size = width, height
        random = np.random.default_rng(7)
        self._roam = height // 6  # pixels that the ground drifts to each side
        room = (height + 2 * self._roam, width + 2 * self._roam)
        # Large shapes under small ones, as a room has: without them each frame would look like another place.
        shapes = cv2.resize(random.integers(40, 170, (4, 6, 1)).astype(np.float32), room[::-1])[:, :, None]
        coarse = (max(2, room[0] // 24), max(2, room[1] // 24))
        grey, tint = random.integers(0, 50, (*coarse, 1)), random.integers(-12, 12, (*coarse, 3))
        details = cv2.resize((grey + tint).astype(np.float32), room[::-1], interpolation=cv2.INTER_CUBIC)
        self._ground = np.clip(shapes + details, 0, 255).astype(np.uint8)
        grain = random.normal(0, GRAIN, (height + 64, width + 64)).astype(np.int16)
        self._grain = cv2.merge([grain] * 3)
        self._jumps = random.integers(0, 64, (RATE * PERIOD, 2))
        self._portrait = np.asarray(Image.open(FACE).convert("RGB"))

    def at(self, time: float) -> RGB:
        """The picture, RGB uint8."""
        width, height = self.size
        turn = 2 * math.pi * time / PERIOD
        left, top = (round(self._roam * (1 + wave)) for wave in (math.sin(turn), math.cos(2 * turn)))
        picture = self._ground[top : top + height, left : left + width].copy()
        self._place(picture, turn)
        down, right = self._jumps[round(time * RATE) % len(self._jumps)]
        grain = self._grain[down : down + height, right : right + width]
        return np.asarray(cv2.add(picture, grain, dtype=cv2.CV_8U), np.uint8)

    def _place(self, picture: RGB, turn: float) -> None:
        """The portrait, with soft edges."""
        width, height = self.size
        side = round(min(width, height) * (0.75 + 0.1 * math.sin(3 * turn)))
        left = round((width - side) * (0.5 + 0.3 * math.sin(2 * turn)))
        top = round((height - side) * (0.5 + 0.3 * math.cos(turn)))
        portrait = cv2.resize(self._portrait, (side, side), interpolation=cv2.INTER_AREA)
        edge = np.clip(np.minimum(np.arange(side), np.arange(side)[::-1]) / (side / 12), 0, 1).astype(np.float32)
        cover = np.outer(edge, edge)
        place = picture[top : top + side, left : left + side]
        place[:] = cv2.blendLinear(portrait, np.ascontiguousarray(place), cover, 1 - cover)


def _encode(path: Path, height: int, seconds: float) -> None:
    scene = Scene(height * 16 // 9 // 2 * 2, height)
    options = {
        "preset": "veryfast",
        "crf": "23",
        "g": str(KEYFRAMES),
        "keyint_min": str(KEYFRAMES),
        "sc_threshold": "0",
    }
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height = scene.size
        stream.pix_fmt = "yuv420p"
        for number in range(round(seconds * RATE)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.at(number / RATE), format="rgb24")))
        container.mux(stream.encode(None))


def _repeat(period: Path, path: Path, seconds: float) -> None:
    """Its packets over and over, until there are so many seconds."""
    with av.open(str(path), "w", format="mp4") as target:
        stream = None
        start, end = Fraction(0), Fraction(round(seconds * RATE), RATE)
        while start < end:
            with av.open(str(period)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                assert video.time_base is not None
                _copy(source, target, stream, start, end)
            start += _duration(period)


def _copy(source: Any, target: Any, stream: Any, start: Fraction, end: Fraction) -> None:
    for packet in source.demux(video=0):
        if packet.dts is None:  # the demuxer's word for "over"
            continue
        if start + packet.pts * packet.time_base >= end:
            continue
        packet.pts += round(start / packet.time_base)
        packet.dts += round(start / packet.time_base)
        packet.stream = stream
        target.mux(packet)
