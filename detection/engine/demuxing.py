"""Walks through the packets of an open video and finds out where its frames lie. Decodes nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from detection.engine.sampling import Timeline

VideoPacket: TypeAlias = "Packet[VideoStream]"  # quoted: not subscriptable at run time

_MAX_READ_ERRORS: Final = 32  # in one pass over a damaged file
_MAX_PACKETS: Final = 2_000_000  # in one pass; four hours at 60 frames/s are 864,000
_FAR_AWAY: Final = 1 << 56  # ticks: later than any frame, even at a nanosecond a tick
_ENOUGH_TO_TELL_A_RATE: Final = 12  # packets


def packets(container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
    """What can be read from the current position on; damaged stretches are stepped over."""
    left = _MAX_PACKETS
    for _ in range(_MAX_READ_ERRORS):
        try:
            for packet in islice(container.demux(stream), left):
                left -= 1
                if packet.size:  # the empty one at the end would flush the decoder
                    yield packet
            return
        except FFmpegError:
            continue


def packets_from(keyframe: int | None, container: InputContainer, stream: VideoStream) -> Iterator[VideoPacket]:
    """The same from ``keyframe`` (ticks, as the container indexes it) on, for seeks that land too early."""
    for packet in packets(container, stream):
        if keyframe is not None:
            shown = shown_at(packet)
            if not packet.is_keyframe or (shown is not None and shown < keyframe):
                continue
            keyframe = None
        yield packet


def shown_at(packet: VideoPacket) -> int | None:
    """Ticks at which the packet's picture is shown, as far as known."""
    return packet.pts if packet.pts is not None else packet.dts


def is_past(packet: VideoPacket, ticks: float) -> bool:
    """Whether everything shown before ``ticks`` has been read once this packet has.

    A picture is decoded before it is shown, so its decoding time tells. Some containers leave that out
    at a keyframe, which nothing later in the file precedes on screen but pictures that need not count.
    """
    decoded = packet.pts if packet.dts is None and packet.is_keyframe else packet.dts
    return decoded is not None and decoded >= ticks


def measure(container: InputContainer, stream: VideoStream) -> Timeline | None:
    """Find out which part of a video is really there; None if no packet is.

    The container's index is used as far as it goes and only what follows its last keyframe is read;
    without an index, the whole file is. Leaves the position anywhere.
    """
    # Some demuxers load their index, or complete one, only when asked to seek.
    with suppress(FFmpegError):
        container.seek(_FAR_AWAY, stream=stream)
    keyframes, frames_before = _indexed(container, stream)
    tail = _scan(container, stream, keyframes[-1]) if keyframes else _Scan()
    if tail.frames:
        start = stream.start_time if stream.start_time is not None else keyframes[0]
        if "matroska" in container.format.name:  # its index lists keyframes only
            frames = _estimate(stream, start, tail)
        else:
            frames = frames_before + tail.frames
        shown = sorted({*(time + tail.delay for time in keyframes), *tail.keyframes})
        return Timeline(start, max(start, tail.end), frames, tuple(shown), tail.delay)
    whole = _scan(container, stream, None)
    if not whole.frames:
        return None
    start = stream.start_time if stream.start_time is not None else whole.start
    return Timeline(start, max(start, whole.end), whole.frames, tuple(sorted(whole.keyframes)), whole.delay)


def _indexed(container: InputContainer, stream: VideoStream) -> tuple[list[int], int]:
    """The keyframes in the container's index and how many frames it lists before the last of them."""
    entries = stream.index_entries
    # In a truncated file, the index goes on where the data has ended.
    there = bisect_right(entries, container.size, key=lambda entry: entry.pos + entry.size)
    keyframes, frames, frames_before = [], 0, 0
    for entry in islice(entries, min(there, _MAX_PACKETS)):
        if entry.is_keyframe:
            keyframes.append(entry.timestamp)
            frames_before = frames
        # An edit list may hide frames that others lean on: there to be decoded, not to be counted.
        frames += not entry.is_discard
    if "avi" in container.format.name and len(keyframes) == there and not stream.codec.intra_only:
        # Without an index in the file, this demuxer makes one up and calls every entry a keyframe.
        return [], 0
    return keyframes, frames_before


@dataclass(slots=True)
class _Scan:
    """What lies between a place in the file and its end; times in ticks."""

    start: int = 0
    end: int = 0
    frames: int = 0
    keyframes: list[int] = field(default_factory=list)
    delay: int = 0  # from a keyframe's time in the container's index to its being shown


def _scan(container: InputContainer, stream: VideoStream, keyframe: int | None) -> _Scan:
    """Read, without decoding, from an indexed keyframe or the beginning to the end."""
    scan = _Scan()
    with suppress(FFmpegError):
        container.seek((stream.start_time or 0) if keyframe is None else keyframe, stream=stream)
    for packet in packets_from(keyframe, container, stream):
        shown = shown_at(packet)
        if shown is None:
            continue
        if packet.is_keyframe:
            if not scan.keyframes and packet.dts is not None and "matroska" not in container.format.name:
                scan.delay = shown - packet.dts  # the others index decoding times
            scan.keyframes.append(shown)
        if packet.is_discard:
            continue
        scan.start = min(scan.start, shown) if scan.frames else shown
        scan.end = max(scan.end, shown) if scan.frames else shown
        scan.frames += 1
    return scan


def _estimate(stream: VideoStream, start: int, tail: _Scan) -> int:
    """How many frames there are, from the rate at the end, or else from the one in the header."""
    span = tail.end - start
    if tail.frames >= _ENOUGH_TO_TELL_A_RATE and tail.end > tail.start:
        return round(span * (tail.frames - 1) / (tail.end - tail.start)) + 1
    if stream.guessed_rate and stream.time_base:
        return round(span * stream.time_base * stream.guessed_rate) + 1
    return max(tail.frames, 1)
