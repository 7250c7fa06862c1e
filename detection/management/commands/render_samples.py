"""``manage.py render_samples``: short videos out of the two sample pictures.

Not shipped ready-made: two pictures are a tenth of their size, and what renders them is here anyway. The first user who
asks for one has it done, in a process of its own, because the web process does not load PyAV and OpenCV.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from django.core.management.base import BaseCommand
from numpy.typing import NDArray
from PIL import Image

from detection import services

Picture = NDArray[np.uint8]  # (height, width, 3), RGB

SECONDS, RATE, SIDE = 8, 25, 480
WINDOW = 0.72  # of the picture's side that is seen at a time
CHANGED = (2.5, 6.0)  # seconds between which the face is the changed one


class Command(BaseCommand):
    help = "Render the sample videos, unless they are there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", type=Path, default=None, help="folder; by default below the media root")

    def handle(self, *, output: Path | None, **options: object) -> None:
        folder = output or services.sample_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        genuine, changed = (_picture(name) for name in ("astronaut", "astronaut-changed"))
        for name, other in (("astronaut-pan", genuine), ("astronaut-changed-pan", changed)):
            path = folder / f"{name}.mp4"
            if not path.exists():
                render(path, genuine, other)
                self.stdout.write(str(path))


def _picture(name: str) -> Picture:
    with Image.open(services.SAMPLE_PICTURES / f"{name}.jpg") as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def render(path: Path, genuine: Picture, other: Picture) -> None:
    """A pan over ``genuine``, with ``other`` in its place between the two moments of ``CHANGED``."""
    unfinished = path.with_name(f".{path.name}.part")  # renamed at the end: nobody gets half a video
    with av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "fast"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for picture in _frames(genuine, other):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    unfinished.replace(path)


def _frames(genuine: Picture, other: Picture) -> Iterator[Picture]:
    side = genuine.shape[0]
    for number in range(SECONDS * RATE):
        place = number / (SECONDS * RATE - 1)
        picture = other if CHANGED[0] <= number / RATE < CHANGED[1] else genuine
        seen = side * WINDOW * (1 - 0.08 * np.sin(np.pi * place))  # comes a little nearer in the middle
        left = (side - seen) * (0.2 + 0.35 * place)
        scale = SIDE / seen
        move = np.array([[scale, 0, -left * scale], [0, scale, 0]], np.float64)
        yield np.asarray(cv2.warpAffine(picture, move, (SIDE, SIDE), flags=cv2.INTER_AREA), np.uint8)
