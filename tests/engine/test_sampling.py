"""The plan of what to decode: even, exact where that is cheap, bounded always."""

from __future__ import annotations

from itertools import pairwise

import pytest

from detection.engine.sampling import (
    DECODE_BUDGET,
    MOST_FRAMES,
    SPARSE_BUDGET,
    Timeline,
    frames_wanted,
    nearest,
    plan,
)
from detection.engine.types import Mode


def timeline(frames: int, keyint: int, start: int = 0, tick: int = 512, delay: int = 0) -> Timeline:
    times = [start + i * tick for i in range(frames)]
    return Timeline(start, times[-1], frames, tuple(times[::keyint]), delay)


def decoded(line: Timeline, count: int) -> float:
    """Frames between each run's keyframe and its last wanted time."""
    total = 0.0
    for run in plan(line, count):
        begin = line.start if run.seek is None else run.seek + line.delay
        total += (run.wanted[-1] - begin) / line.ticks_per_frame + 1
    return total


@pytest.mark.parametrize("frames", [2, 31, 32, 480])
def test_a_short_video_is_sampled_exactly(frames: int) -> None:
    runs = plan(timeline(frames, keyint=1000), count=32)

    [run] = runs
    assert run.seek is None
    slots = [max(0, (i + 0.5) * frames / 32 - 0.5) * 512 for i in range(32)]
    assert list(run.wanted) == pytest.approx(slots)


def test_a_single_frame() -> None:
    [run] = plan(timeline(1, keyint=1), count=3)
    assert run.seek is None
    assert run.wanted[0] == 0


def test_as_many_samples_as_frames_are_the_frames() -> None:
    line = timeline(40, keyint=10, start=7000)
    wanted = [time for run in plan(line, 40) for time in run.wanted]

    assert wanted == pytest.approx([7000 + 512 * i for i in range(40)])


@pytest.mark.parametrize("seconds", [17, 30, 60, 600, 4 * 3600])
@pytest.mark.parametrize("keyint", [1, 12, 250, 10_000_000])
@pytest.mark.parametrize("count", [1, 8, 32, 64])
def test_the_work_is_bounded_and_the_samples_spread(seconds: int, keyint: int, count: int) -> None:
    line = timeline(seconds * 30, keyint)
    runs = plan(line, count)
    wanted = [time for run in runs for time in run.wanted]

    assert len(wanted) == count
    assert all(later > earlier for earlier, later in pairwise(wanted))
    assert line.start <= wanted[0]
    assert wanted[-1] <= line.end
    is_sparse = keyint * 4 > seconds * 30
    assert decoded(line, count) <= (SPARSE_BUDGET if is_sparse else DECODE_BUDGET) + count
    if not is_sparse:
        slots = [(i + 0.5) * (line.end - line.start) / count for i in range(count)]
        assert max(abs(a - b) for a, b in zip(wanted, slots, strict=True)) <= (keyint + 1) * 512


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [(None, 64), (0.5, 64), (64, 64), (64.1, 65), (600, 600), (3600, 3600), (3601, 3600), (4 * 3600, MOST_FRAMES)],
)
def test_a_thorough_look_takes_a_frame_a_second_twice_the_usual_at_least_and_an_hour_s_at_most(seconds, frames) -> None:
    assert frames_wanted(Mode.THOROUGH, 32, seconds) == frames
    assert frames_wanted(Mode.STANDARD, 32, seconds) == 32


@pytest.mark.parametrize("seconds", [17, 90.4, 600, 3600])
@pytest.mark.parametrize("keyint", [12, 250, 10_000_000])
def test_a_thorough_look_lies_where_it_was_asked_for(seconds: float, keyint: int) -> None:
    line = timeline(round(seconds * 30), keyint, delay=1024)
    count = frames_wanted(Mode.THOROUGH, 32, seconds)
    wanted = [time for run in plan(line, count, exact=True) for time in run.wanted]

    slot = line.frames / count * 512
    assert wanted == pytest.approx([max(0, (i + 0.5) * slot - 256) for i in range(count)])
    assert slot <= 30 * 512, "no second without a frame"


def test_a_far_keyframe_alone_is_taken_itself() -> None:
    line = timeline(18_000, keyint=250)
    for run in plan(line, 32):
        assert len(run.wanted) == 1
        assert run.wanted[0] == (run.seek or 0)


def test_seeks_use_the_times_of_the_containers_index() -> None:
    line = timeline(18_000, keyint=250, delay=1024)
    seeks = [run.seek for run in plan(line, 32) if run.seek is not None]

    assert seeks
    assert {(seek + 1024) % (250 * 512) for seek in seeks} == {0}


def test_frames_before_the_first_keyframe_belong_to_the_beginning() -> None:
    line = Timeline(start=0, end=99, frames=100, keyframes=(50,))
    assert [run.seek for run in plan(line, 10)] == [None]


def test_no_keyframe_at_all() -> None:
    [run] = plan(Timeline(start=0, end=99, frames=100, keyframes=()), 4)
    assert run.seek is None
    assert list(run.wanted) == pytest.approx([12, 37, 62, 87])


@pytest.mark.parametrize(
    ("frames", "wanted", "expected"),
    [
        ([0, 10, 20, 30], [4, 16, 30], [0, 20, 30]),
        ([0, 10, 20, 30], [15], [20]),  # a tie goes to the later
        ([0, 10], [0, 1, 2, 9], [0, 10]),  # each only once
        ([5, 6], [0, 1, 2], [5]),
        ([0, 10], [8, 40, 50], [10]),  # ended too early
        ([], [1], []),
    ],
)
def test_nearest(frames: list[int], wanted: list[int], expected: list[int]) -> None:
    assert list(nearest(frames, float, wanted)) == expected


def test_nearest_reads_no_further_than_needed() -> None:
    frames = iter(range(1000))
    assert list(nearest(frames, float, [3])) == [3]
    assert next(frames) <= 5
