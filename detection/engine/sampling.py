"""Which frames of a video to decode: pure arithmetic, no file in sight.

Decoding is what costs. A frame can be decoded only after everything since the keyframe before it, and
keyframes may be ten seconds apart; 32 exact samples of a 1080p minute would decode nearly all of it. So
the plan spends a budget:

* every sample may cost at most ``budget / count`` decoded frames;
* where that is enough to reach the wanted times exactly, they are reached exactly. A short video is
  therefore simply decoded from end to end;
* where it is not, the samples that share a keyframe become that keyframe and frames at a small stride
  after it: near the place that was asked for (less than one keyframe interval away), for a tenth of the
  work;
* if this would leave a third of the video unseen, because it has hardly a keyframe, the budget is
  widened once, and only once: the work stays bounded whatever the file says.

A thorough look has no such budget: every wanted time is reached exactly, and nearly everything is decoded. What bounds
it is the number of frames and the time that its caller gives it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from detection.engine.types import Mode

DECODE_BUDGET = 480  # frames decoded for one call of sample(); about 1-2 s at 1080p on two cores
SPARSE_BUDGET = 8 * DECODE_BUDGET  # the same for a video with hardly a keyframe
WIDEST_BLIND_STRETCH = 1 / 3  # of the video
# Of one call of sample(). An hour at a frame a second: it bounds what is stored and shown, and the time that it takes.
MOST_FRAMES = 3600

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where a video's frames lie. Times are ticks: integers in the stream's own time base.

    Attributes:
        start: time of the first frame.
        end: time of the last frame that can be read.
        frames: how many frames lie between the two, both included; an estimate for some containers.
        keyframes: ascending; what follows one can be decoded without what precedes it.
        delay: how much earlier than it is shown the container's index lists a keyframe, because it lists
            decoding times.
    """

    start: int
    end: int
    frames: int
    keyframes: tuple[int, ...]
    delay: int = 0

    @property
    def ticks_per_frame(self) -> float:
        return (self.end - self.start) / max(1, self.frames - 1) or 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """One stretch of decoding.

    Attributes:
        seek: keyframe to start from, as the container indexes it; None means the very beginning.
        wanted: times to pick frames at, strictly ascending.
        packets: give up after so many, whatever came out. Bounds the work when a file's frames are not
            where its header says.
    """

    seek: int | None
    wanted: tuple[float, ...]
    packets: int


def frames_wanted(mode: Mode, standard: int, seconds: float | None) -> int:
    """How many frames of a video a mode looks at.

    A thorough look takes at least one for each second and twice as many as a standard one, which takes ``standard``.
    It stops at ``MOST_FRAMES``: of more than an hour they lie further apart.

    Args:
        seconds: the video's length; None if nobody knows.
    """
    if mode is Mode.STANDARD:
        return standard
    return min(MOST_FRAMES, max(2 * standard, math.ceil(seconds or 0)))


def plan(timeline: Timeline, count: int, *, exact: bool = False) -> list[Run]:
    """Spread ``count`` samples evenly over ``timeline``: within the decode budget, or ``exact`` at any cost."""
    targets = _targets(timeline, count)
    if exact:
        return _runs(timeline, targets, math.inf)
    runs = _runs(timeline, targets, DECODE_BUDGET / count)
    times = [time for run in runs for time in run.wanted]
    adrift = max(abs(time - target) for time, target in zip(times, targets, strict=True))
    if adrift > (timeline.end - timeline.start) * WIDEST_BLIND_STRETCH:
        return _runs(timeline, targets, SPARSE_BUDGET / count)
    return runs


def _targets(timeline: Timeline, count: int) -> list[float]:
    """Centres of ``count`` equal slots. Half a frame earlier, so that count == frames gives each frame."""
    tick = timeline.ticks_per_frame
    slot = (timeline.end - timeline.start + tick) / count
    return [timeline.start + max(0.0, (i + 0.5) * slot - tick / 2) for i in range(count)]


def _runs(timeline: Timeline, targets: Sequence[float], frames_per_sample: float) -> list[Run]:
    def keyframe_before(time: float) -> int:
        return max(0, bisect_right(timeline.keyframes, time) - 1)

    runs = []
    reach = frames_per_sample * timeline.ticks_per_frame
    for at, group in groupby(targets, keyframe_before):
        wanted = list(group)
        keyframe = timeline.keyframes[at] if timeline.keyframes else timeline.start
        begin = keyframe if at > 0 else timeline.start
        if wanted[-1] - begin > reach * len(wanted):
            wanted = [begin + i * reach for i in range(len(wanted))]
        expected = (wanted[-1] - min(keyframe, begin)) / timeline.ticks_per_frame
        # The first keyframe is the beginning: whatever may lie before it is worth a try.
        seek = keyframe - timeline.delay if at > 0 else None
        runs.append(Run(seek, tuple(wanted), packets=64 + 3 * int(expected)))
    return runs


def nearest(frames: Iterable[T], time_of: Callable[[T], float], wanted: Sequence[float]) -> Iterator[T]:
    """For each wanted time the nearest frame, each frame once.

    Reads no further than needed and holds two frames at a time. Where the frames end too early, the last
    one stands for all that is still wanted.
    """
    due = iter(wanted)
    target = next(due, None)
    previous: T | None = None
    given: T | None = None
    for frame in frames:
        while target is not None and time_of(frame) >= target:
            best = frame
            if previous is not None and target - time_of(previous) < time_of(frame) - target:
                best = previous
            if best is not given:
                yield best
                given = best
            target = next(due, None)
        previous = frame
        if target is None:
            return
    if previous is not None and previous is not given:
        yield previous
