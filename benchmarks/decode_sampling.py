"""What does it cost to sample a video? The engine's sampler, linear decoding and exact seeks, side by side.

Run it as ``python -m benchmarks.decode_sampling [--seconds 60] [--height 1080] [--keyint 250] [--rounds 3]``.
It generates an H.264 video with moving noise (noise is what makes a video hard to decode), then lets the
three ways take turns in one process, so that other load on the machine hits all alike: compare ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from detection.engine.media import open_media

RATE = 30


def generate(path: Path, seconds: int, height: int, keyint: int) -> None:
    """A textured picture that drifts, under grain: motion and residuals for the decoder."""
    width = height * 16 // 9 // 2 * 2
    noise = np.random.default_rng(7)
    texture = np.kron(noise.integers(40, 215, (height // 8 + 40, width // 8 + 40)), np.ones((8, 8)))
    grain = noise.normal(0, 6, (8, height, width))
    options = {"preset": "veryfast", "crf": "26", "g": str(keyint), "keyint_min": str(keyint)}
    options |= {"sc_threshold": "0", "bf": "3"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(seconds * RATE):
            shift = 160 + round(150 * np.sin(index / 40))
            luma = texture[shift // 2 : shift // 2 + height, shift : shift + width] + grain[index % 8]
            picture = np.full((height * 3 // 2, width), 128, np.uint8)
            picture[:height] = luma.clip(16, 235)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode(None))


def ours(path: Path, count: int) -> list[float]:
    with open_media(path) as media:
        return [frame.time for frame in media.sample(count)]


def linear(path: Path, count: int) -> list[float]:
    """Decode everything, convert every n-th frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        wanted = {round((i + 0.5) * stream.frames / count) for i in range(count)}
        times = []
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                frame.to_ndarray(format="rgb24")
                times.append(frame.time)
    return times


def exact_seeks(path: Path, count: int) -> list[float]:
    """For each sample, seek to the keyframe before it and decode up to it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        assert stream.duration is not None
        times = []
        for i in range(count):
            target = int((i + 0.5) * stream.duration / count)
            container.seek(target, stream=stream)
            frame = next(f for f in container.decode(stream) if f.pts is not None and f.pts >= target)
            frame.to_ndarray(format="rgb24")
            times.append(frame.time)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--keyint", type=int, default=250)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ways: dict[str, Callable[[Path, int], list[float]]] = {
        "veriframe": ours,
        "linear decode": linear,
        "exact seeks": exact_seeks,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generated.mp4"
        generate(path, arguments.seconds, arguments.height, arguments.keyint)
        print(f"{path.stat().st_size / 1e6:.1f} MB, {arguments.seconds} s at {arguments.height} lines")
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        gaps: dict[str, float] = {}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                times = [0.0, *way(path, arguments.count), float(arguments.seconds)]
                seconds[name].append(time.perf_counter() - start)
                gaps[name] = max(after - before for before, after in pairwise(times))
    fastest = statistics.median(seconds["veriframe"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:14} {median:6.2f} s  {median / fastest:5.1f}x  widest gap {gaps[name]:.1f} s")


if __name__ == "__main__":
    main()
