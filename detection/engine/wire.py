"""How a sandbox and its decoders speak: JSON after its length, and pictures as they lie in memory.

JSON and not pickle: what comes back was written by a process that a hostile file may have taken over.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

# How a file's process ends, beside by a signal.
DONE: Final = 0
BROKEN: Final = 1
OUT_OF_MEMORY: Final = 3

_LENGTH: Final = struct.Struct("!I")
_LONGEST: Final = 1 << 16  # bytes of a message

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What decoding one file may cost.

    Attributes:
        memory: bytes of address space, libraries included.
        seconds: of processor time, and as many of waiting for the next picture, added up.
        thorough_seconds: the same for a thorough look, which decodes nearly everything.
    """

    memory: int = 3 << 30
    seconds: int = 600
    thorough_seconds: int = 7200


def nothing() -> None:
    """The check of somebody who waits as long as it takes."""


def send(to: socket.socket, message: dict[str, Any]) -> None:
    content = json.dumps(message).encode()
    to.sendall(_LENGTH.pack(len(content)) + content)


def receive(origin: socket.socket, check: Check = nothing) -> dict[str, Any]:
    """The next message.

    Args:
        check: called whenever bytes have come or the socket's time-out has passed; may raise.

    Raises:
        EOFError: the other side is gone.
        ValueError: this is no message.
    """
    (length,) = _LENGTH.unpack(_exactly(origin, _LENGTH.size, check))
    if length > _LONGEST:
        raise ValueError("the message is too long")
    try:
        message = json.loads(_exactly(origin, length, check))
    except RecursionError:
        raise ValueError("the message is nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("the message is no object")
    return message


def _exactly(origin: socket.socket, count: int, check: Check) -> bytearray:
    content = bytearray(count)
    fill(origin, memoryview(content), check)
    return content


def fill(origin: socket.socket, into: memoryview, check: Check = nothing) -> None:
    """Read exactly ``len(into)`` bytes. See :func:`receive`."""
    while into:
        check()
        try:
            count = origin.recv_into(into)
        except TimeoutError:
            continue
        except ConnectionResetError:
            count = 0
        if not count:
            raise EOFError
        into = into[count:]
