"""What a decoder says is believed no more than the file that it reads."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable

import pytest

from detection.engine import sandbox as module
from detection.engine.errors import ErrorCode, MediaError
from detection.engine.media import Limits
from detection.engine.sampling import MOST_FRAMES
from detection.engine.sandbox import SandboxedMedia

DEEP = struct.pack("!I", 60_000) + b"[" * 60_000
GOOD = {"info": {"kind": "image", "mime": "image/png", "width": 2, "height": 1, "codec": "png"}}


def says(*parts: dict | bytes) -> Callable[[], module._Decoder]:
    """A decoder that says this, whatever it is asked, and then nothing more."""
    near, far = socket.socketpair()
    leash, leash_end = socket.socketpair()
    for part in parts:
        content = part if isinstance(part, bytes) else json.dumps(part).encode()
        far.sendall(content if isinstance(part, bytes) else struct.pack("!I", len(content)) + content)
    leash_end.sendall(b"\0")
    far.shutdown(socket.SHUT_WR)
    leash_end.close()
    decoder = module._Decoder(near, leash, 30)
    decoder.far = far  # not closed before the test is over
    return lambda: decoder


@pytest.mark.parametrize(
    "parts",
    [
        (b"\xff\xff\xff\xff",),
        (b"\0\0\0\x04nope",),
        (b"\0\0\0\x02[]",),
        ({"info": None},),
        ({"info": {**GOOD["info"], "mime": "text/html"}},),
        ({"info": {**GOOD["info"], "width": -2, "height": -1}},),
        ({"info": {**GOOD["info"], "width": 1 << 40}},),
        ({"info": {**GOOD["info"], "duration": float("nan")}},),
        ({"info": {**GOOD["info"], "more": 1}},),
        ({"info": {**GOOD["info"], "width": 1.5}}, {"frame": [0, 0.0]}),
        ({"info": {**GOOD["info"], "height": True}}, {"end": True}),
        ({"info": {**GOOD["info"], "codec": "\ud800"}}, {"end": True}),
        ({"info": {**GOOD["info"], "duration": 1e6}}, {"end": True}),
        ({"info": {**GOOD["info"], "fps": "30"}},),
        ({"info": {**GOOD["info"], "frame_count": 1 << 31}}, {"end": True}),
        pytest.param(({"info": {**GOOD["info"], "frame_count": 10**400}},), id="frame_count 10**400"),
        pytest.param(({"info": {**GOOD["info"], "fps": 10**400}},), id="fps 10**400"),
        pytest.param((DEEP,), id="deep"),
        ({"error": ["internal_error", "whatever"]},),
        ({"error": "whatever"},),
        ({"error": ["media_too_long", "nothing\0"]},),
        (GOOD, {"frame": [0, float("inf")]}),
        (GOOD, {"frame": [-1, 0.0]}),
        (GOOD, {"frame": [1 << 31, 0.0]}, b"123456", {"end": True}),
        (GOOD, {"frame": [0.5, 0.0]}),
        (GOOD, {"frame": [0, 1e6]}, b"123456", {"end": True}),
        (GOOD, {"frame": ["0", 0.0]}),
        (GOOD, {"frame": [0, 0.0]}, b"123456", {"frame": [1, 0.0]}),
        (GOOD, {"frame": [0, 0.0]}, b"123"),
        (),
    ],
    ids=str,
)
def test_nonsense_costs_the_file_and_nothing_else(parts: tuple[dict | bytes, ...]):
    decode = says(*parts)
    with pytest.raises(MediaError) as caught, SandboxedMedia(decode, Limits()) as media:
        list(media.sample(3))
    decode().far.close()
    decode().close()
    assert caught.value.code is ErrorCode.UNREADABLE_MEDIA


def test_more_frames_than_were_asked_for_are_not_read():
    decode = says(GOOD, *[part for n in range(9) for part in ({"frame": [n, n / 2]}, b"123456")])
    with SandboxedMedia(decode, Limits()) as media:
        assert [f.index for f in media.sample(3)] == [0, 1, 2]
    decode().far.close()


@pytest.mark.parametrize("count", [0, MOST_FRAMES + 1])
def test_more_than_anybody_may_want_is_not_asked_for(count: int):
    decode = says(GOOD)
    with SandboxedMedia(decode, Limits()) as media, pytest.raises(ValueError, match=f"{count} frames"):
        next(media.sample(count))
    decode().far.close()


def test_a_mistake_of_ours_over_there_comes_to_light():
    decode = says({"bug": "Traceback:\nouch\r\nERROR forged \x1b[2J" + "x" * 9_000})
    with pytest.raises(module.DecoderError, match="ouch") as caught:
        SandboxedMedia(decode, Limits())
    decode().far.close()
    first, *lines = str(caught.value).split("\n")
    assert not first
    assert all(line.startswith("    '") and line.isprintable() for line in lines), "no line of a log can be forged"
    assert len(str(caught.value)) < 5_000
