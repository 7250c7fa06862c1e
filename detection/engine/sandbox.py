"""Opens media in a process of its own, where a hostile file can hurt least.

A decoder is half a million lines of C that a stranger feeds. Here it runs in a process that has no network, opens
no file, starts no program and may use so much memory and time (see ``confinement.py``); whatever
becomes of it, this process goes on and the file gets a code. One *host* (:mod:`detection.engine.decoder`) with the
decoders loaded waits beside each sandbox and forks a process for every file. Pictures come back through a socket,
bit for bit as :func:`detection.engine.media.open_media` gives them, and the next one is decoded meanwhile.

Every wait is made of short ones: an exception that somebody else raises in this thread (a time limit, a shutdown)
gets through. What comes back is believed no more than the file is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, TypeVar

import numpy as np

from detection.engine import wire
from detection.engine.errors import EngineError, ErrorCode, MediaError, gettext_noop
from detection.engine.formats import FORMATS
from detection.engine.media import Limits, Media, check_count, open_media, open_source
from detection.engine.types import Frame, MediaInfo, MediaKind, Mode

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ROOT: Final = Path(__file__).resolve().parents[2]
_SUPPORTED: Final = hasattr(os, "fork") and hasattr(socket, "send_fds")
_TICK: Final = 0.5  # seconds that an exception from elsewhere may have to wait
_START_SECONDS: Final = 120  # for the decoders to be loaded, generous: the machine may be busy
_REPORT_SECONDS: Final = 30  # from a process's end to the word of it
_MOST_FRAMES: Final = (1 << 31) - 1  # no file has more, and who keeps a number of a frame need not be prepared for it
_BUG_LENGTH: Final = 4000  # characters of a traceback
_MIMES: Final = {known.mime for known in FORMATS}
_FILE_CODES: Final = {
    ErrorCode.UNREADABLE_MEDIA,
    ErrorCode.UNSUPPORTED_CODEC,
    ErrorCode.MEDIA_TOO_LONG,
    ErrorCode.TOO_MANY_PIXELS,
}

_BREAKS_DECODERS = gettext_noop(
    "The file is damaged in a way that made reading it fail. Export it again, or convert it to MP4 (H.264) or JPEG."
)
_TOO_SLOW = gettext_noop("Reading the file took longer than is allowed. Cut it, or save it at a lower resolution.")


class DecoderError(Exception):
    """A mistake of ours came to light in the decoder's process; the text is its traceback."""


class Sandbox:
    """Opens files like :func:`open_media`. One file at a time, as the pipeline does that owns it.

    Where the platform cannot fork, files are opened in this process, and the log says so.
    """

    def __init__(self, bounds: wire.Bounds | None = None) -> None:
        self._bounds = bounds or wire.Bounds()
        # At once: it takes half a second to load the decoders, beside whoever loads a network.
        self._host = _Host() if _SUPPORTED else None
        if not _SUPPORTED:
            logger.warning("This platform has no processes to decode media in: files are opened by the worker itself.")

    def __call__(
        self, path: Path, *, limits: Limits, waiting: Callable[[], None] = wire.nothing, mode: Mode = Mode.STANDARD
    ) -> Media:
        """Open a file as :func:`open_media` does, which see.

        Args:
            waiting: called about twice a second while the decoder is waited for; may raise to stop it.
            mode: how closely it will be looked at: a thorough look may take longer.

        Raises:
            MediaError: also when the file broke its decoder.
            EngineError: ``timed_out``.
            MemoryError: the file needs more than the bounds give.
        """
        if not _SUPPORTED:
            return open_media(path, limits=limits)
        bounds = self._bounds
        if mode is Mode.THOROUGH:
            bounds = replace(bounds, seconds=bounds.thorough_seconds)
        return SandboxedMedia(lambda: self._decode(path, limits, bounds, waiting), limits)

    def _decode(self, path: Path, limits: Limits, bounds: wire.Bounds, waiting: Callable[[], None]) -> _Decoder:
        """A new process that reads the file; from a new host if the old one is gone."""
        request = {"limits": asdict(limits), "bounds": asdict(bounds)}
        # Opened anew each time: descriptors that are handed on share their position in the file.
        with open_source(path) as file:
            host = self._living_host()
            try:
                near, leash = host.decode(request, file, waiting)
            except (BrokenPipeError, ConnectionResetError):  # it died in this very moment
                host = self._living_host()
                near, leash = host.decode(request, file, waiting)
        return _Decoder(near, leash, bounds.seconds, waiting, host.end)

    def _living_host(self) -> _Host:
        if self._host is None or not self._host.is_alive():
            self._host = _Host()
        return self._host


class _Host:
    """The process that forks, on the near side. Ends with this object and with this process."""

    def __init__(self) -> None:
        near, far = socket.socketpair()
        with far:
            self._process = subprocess.Popen(  # noqa: S603  (this very Python, and a number)
                [sys.executable, "-m", "detection.engine.decoder", str(far.fileno())],
                cwd=_ROOT,
                # Nothing of ours: it holds the site's passwords. The last two keep address space from being
                # reserved that nobody uses: it counts against the bound.
                env={"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C is not for it
            )
        near.settimeout(_TICK)
        self._control = near
        self._greeted = False
        self.end = weakref.finalize(self, _end_host, self._process, near)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def decode(
        self, request: dict[str, Any], file: BinaryIO, waiting: Callable[[], None]
    ) -> tuple[socket.socket, socket.socket]:
        """Have a new process read ``file``. Returns where it answers, and the leash: it ends when that is closed."""
        self._greet(waiting)
        near, far = socket.socketpair()
        leash, leash_end = socket.socketpair()
        with far, leash_end:
            for mine in (near, leash):
                mine.settimeout(_TICK)
            message = json.dumps(request).encode()
            try:
                socket.send_fds(self._control, [message], [file.fileno(), far.fileno(), leash_end.fileno()])
            except BaseException:
                near.close()
                leash.close()
                self.end()
                raise
        return near, leash

    def _greet(self, waiting: Callable[[], None]) -> None:
        """Wait until it is ready, the first time, and tell what it lacks."""
        if self._greeted:
            return
        try:
            too_late = DecoderError("the decoders could not be loaded")
            greeting = wire.receive(self._control, _patience(_START_SECONDS, too_late, waiting))
        except EOFError:
            self.end()
            raise DecoderError("the process that decodes media did not start; the error output says why") from None
        except BaseException:  # half a greeting cannot be taken up again
            self.end()
            raise
        self._greeted = True
        lacking = greeting["lacking"]
        if lacking:
            logger.warning("Media is decoded in a process of its own, but without: %s.", ", ".join(lacking))
        else:
            logger.info("Media is decoded in confined processes.")


def _end_host(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    process.kill()
    process.wait()


def _patience(seconds: float, too_late: Exception, waiting: Callable[[], None]) -> wire.Check:
    """A check that calls ``waiting`` about twice a second and raises ``too_late`` after so many of them."""
    began = told = time.monotonic()

    def check() -> None:
        nonlocal told
        now = time.monotonic()
        if now - began > seconds:
            raise too_late
        if now - told >= _TICK:
            told = now
            waiting()

    return check


class _Decoder:
    """One file's process, on the near side. ``close`` ends it, whatever it is doing."""

    def __init__(
        self,
        answers: socket.socket,
        leash: socket.socket,
        seconds: float,
        waiting: Callable[[], None] = wire.nothing,
        end_host: Callable[[], object] = wire.nothing,
    ) -> None:
        self._answers = answers
        self._leash = leash
        self._seconds = seconds  # left to wait for it
        self._waiting = waiting
        self._end_host = end_host  # for one that perhaps hangs: the next file gets a new one

    def close(self) -> None:
        self._answers.close()
        self._leash.close()

    def ask(self, question: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended: the answer will tell how
            wire.send(self._answers, question)

    def answer(self) -> dict[str, Any]:
        """Its next message.

        Raises:
            EngineError: the file cannot be read, or not in time.
            MemoryError: not with so much memory.
            DecoderError: our code failed over there.
        """
        message = self._listen(lambda check: wire.receive(self._answers, check))
        if "error" in message:
            raise _refusal(message["error"])
        if "bug" in message:
            raise DecoderError(_quoted(message["bug"]))
        return message

    def fill(self, into: memoryview) -> None:
        self._listen(lambda check: wire.fill(self._answers, into, check))

    def _listen(self, read: Callable[[wire.Check], T]) -> T:
        began = time.monotonic()
        too_late = EngineError(ErrorCode.TIMED_OUT, _TOO_SLOW)
        try:
            return read(_patience(self._seconds, too_late, self._waiting))
        except EngineError as error:
            if error is too_late:  # and not what `waiting` raised
                self._end_host()
            raise
        except EOFError:
            raise self._cause_of_death() from None
        except ValueError as error:  # what it says makes no sense: it is no longer what we started
            raise MediaError(ErrorCode.UNREADABLE_MEDIA, _BREAKS_DECODERS) from error
        finally:
            self._seconds -= time.monotonic() - began

    def _cause_of_death(self) -> Exception:
        code = bytearray(1)
        too_late = DecoderError("a decoder's end was not reported")
        try:
            wire.fill(self._leash, memoryview(code), _patience(_REPORT_SECONDS, too_late, self._waiting))
        except EOFError:
            # Its host died as well, and nothing but a system short of memory kills that.
            return MemoryError("the process that decodes media was killed")
        except DecoderError as error:
            self._end_host()
            return error
        ended = code[0] - 256 if code[0] > 127 else code[0]
        if ended == wire.OUT_OF_MEMORY:
            return MemoryError("decoding needs more memory than it may have")
        if ended == -signal.SIGKILL:  # not by us, we would not be listening
            return MemoryError("the system killed a decoder, most likely for its memory")
        if ended == -signal.SIGXCPU:
            return EngineError(ErrorCode.TIMED_OUT, _TOO_SLOW)
        if ended == wire.BROKEN:
            return DecoderError("the process that decodes media could not do its work")
        logger.warning("A decoder ended with %d: the file broke it, or tried what it may not.", ended)
        return MediaError(ErrorCode.UNREADABLE_MEDIA, _BREAKS_DECODERS)


def _refusal(said: Any) -> MediaError:
    match said:
        case [str(code), str(message)] if code in _FILE_CODES and message.isprintable():
            return MediaError(ErrorCode(code), message[:500])
    return MediaError(ErrorCode.UNREADABLE_MEDIA, _BREAKS_DECODERS)


def _quoted(said: Any) -> str:
    """A traceback for the log: each line indented and in quotes, so that it cannot pass for one of the log's own."""
    text = said[:_BUG_LENGTH] if isinstance(said, str) else "no text"
    return "".join(f"\n    {line!r}" for line in text.splitlines())


class SandboxedMedia:
    """A video or an image that another process reads. See :class:`detection.engine.media.Media`."""

    def __init__(self, decode: Callable[[], _Decoder], limits: Limits) -> None:
        self._decode = decode
        self._limits = limits
        self._closed = False
        self._asked = False  # whether the decoder has been told how many frames to sample
        self._decoder = decode()
        try:
            self.info = _info(self._decoder.answer().get("info"), limits)
        except BaseException:
            self.close()
            raise

    def sample(self, count: int, *, exact: bool = False) -> Iterator[Frame]:
        """See :class:`detection.engine.media.Media`."""
        check_count(count)
        if self._closed:
            raise ValueError("the media is closed")
        if self._asked:
            self._begin_again()
        self._asked = True
        self._decoder.ask({"sample": count, "exact": exact})
        last = -1.0
        for _ in range(count):
            message = self._decoder.answer()
            if "end" in message:
                return
            index, last = _place(message.get("frame"), last, self._limits)
            image = np.empty((self.info.height, self.info.width, 3), np.uint8)
            self._decoder.fill(image.data.cast("B"))
            yield Frame(index, last, image)

    def _begin_again(self) -> None:
        """A decoder samples once; this is rare, and simpler than one that can be interrupted."""
        self._decoder.close()
        self._decoder = self._decode()
        _info(self._decoder.answer().get("info"), self._limits)

    def close(self) -> None:
        self._closed = True
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _info(said: Any, limits: Limits) -> MediaInfo:
    """What the decoder says of the file, held against what it can be at all."""
    try:
        info = MediaInfo(**{**said, "kind": MediaKind(said["kind"])})
        sane = (
            info.mime in _MIMES
            and isinstance(info.codec, str)
            and len(info.codec) <= 64
            and info.codec.isprintable()
            and _is_whole(info.width, 1, limits.max_pixels)
            and _is_whole(info.height, 1, limits.max_pixels)
            and info.width * info.height <= limits.max_pixels
            and info.rotation in (0, 90, 180, 270)
            and (info.duration is None or 0 <= info.duration <= _latest(limits))
            and (info.fps is None or 0 <= info.fps <= sys.float_info.max)
            and (info.frame_count is None or _is_whole(info.frame_count, 0, _MOST_FRAMES))
        )
    except (TypeError, KeyError, ValueError) as error:
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, _BREAKS_DECODERS) from error
    if not sane:
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, _BREAKS_DECODERS)
    return info


def _place(said: Any, last: float, limits: Limits) -> tuple[int, float]:
    """A frame's number and time, later than the one before."""
    match said:
        case [index, (int() | float()) as time_] if last < time_ <= _latest(limits):
            if _is_whole(index, 0, _MOST_FRAMES):
                return index, float(time_)
    raise MediaError(ErrorCode.UNREADABLE_MEDIA, _BREAKS_DECODERS)


def _is_whole(said: Any, least: int, most: int) -> bool:
    return type(said) is int and least <= said <= most  # not isinstance: true and false are numbers to that


def _latest(limits: Limits) -> float:
    """Seconds. Twice what may be: the last frame begins within the limit and may stay as long again."""
    return 2 * limits.max_duration
