"""``python -m detection.engine.decoder FD``: the process that reads files for :mod:`detection.engine.sandbox`.

Loads the decoders once and then forks for every file, which takes milliseconds where a fresh interpreter takes
half a second. The fork is confined before it looks at the first byte. It gets the file as a descriptor: this
process knows neither names nor places of files, and none of the site's secrets (its environment is empty).

Requests come over the socket ``FD``, one at a time: JSON with three descriptors (the file, the way back, the leash).
A file's process ends when its work is done, when it breaks a bound, or when whoever asked lets go of the leash,
which a dying process does, too. How it ended is written on the leash. When ``FD`` closes, this process ends.
"""

from __future__ import annotations

import codecs
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import traceback
from dataclasses import asdict
from typing import Any, Final

import av

from detection.engine.confinement import Confinement
from detection.engine.errors import MediaError
from detection.engine.media import Limits, open_file
from detection.engine.wire import BROKEN, DONE, OUT_OF_MEMORY, Bounds, receive, send

_REQUEST_BYTES: Final = 4096


def main(descriptor: int) -> None:
    # A terminal's Ctrl-C and a service manager's SIGTERM go to all processes of a service at once. They are meant
    # for the worker, which then lets go; a file must not fail because of them.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _load_all()
    confinement = Confinement()
    with socket.socket(fileno=descriptor) as control:
        send(control, {"lacking": confinement.lacking})
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 3)
            if len(descriptors) < 3:  # nobody is there any more
                return
            _supervise(json.loads(request), descriptors, confinement, control)


def _load_all() -> None:
    """What is otherwise loaded when it is first needed, by opening a file: too late in a confined fork."""
    of_av = [module.name for module in pkgutil.walk_packages(av.__path__, "av.")]
    of_pillow = [f"PIL.{name}" for name in ("TiffImagePlugin", "ImageOps", "ImageColor", "ImagePalette", "ImageFilter")]
    for name in of_av + of_pillow:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    for encoding in ("ascii", "latin-1", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "unicode_escape"):
        codecs.lookup(encoding)


def _supervise(
    request: dict[str, Any], descriptors: list[int], confinement: Confinement, control: socket.socket
) -> None:
    """Have one file read by a fork, and see that it ends."""
    file, way_back, leash_end = descriptors
    alive, held = os.pipe()  # closes with the fork, however that ends
    parent = os.getpid()
    with socket.socket(fileno=leash_end) as leash:
        try:
            child = os.fork()
        except OSError:  # no room for another process
            child = None
        if child == 0:
            try:
                confinement.die_with_parent(parent)
                for descriptor in (alive, control.fileno(), leash.fileno()):
                    os.close(descriptor)
                os._exit(_read(request, file, way_back, confinement))
            finally:
                os._exit(BROKEN)  # never back into the loop above
        for descriptor in (file, way_back, held):
            os.close(descriptor)
        _report(leash, OUT_OF_MEMORY if child is None else _await(child, alive, leash))
    os.close(alive)


def _await(child: int, alive: int, leash: socket.socket) -> int:
    """Wait for the fork's end or for the leash to be let go. Returns its exit code, negative for a signal."""
    select.select([alive, leash.fileno()], [], [])
    # In either case: a fork that its file has taken over can close its end of the pipe, or write to it, and stay.
    # One that has ended keeps its exit code.
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _report(leash: socket.socket, exit_code: int) -> None:
    try:
        leash.sendall(bytes([exit_code % 256]))  # -9 for a signal becomes 247
    except OSError:
        return  # it was let go: nobody wants to know


def _read(request: dict[str, Any], file: int, way_back: int, confinement: Confinement) -> int:
    """All that a file's process does. Returns its exit code."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    if null > 2:
        os.close(null)
    with socket.socket(fileno=way_back) as answers:
        try:
            confinement.enter(Bounds(**request["bounds"]))
            _answer(answers, file, Limits(**request["limits"]))
        except MediaError as error:
            send(answers, {"error": [error.code, error.message]})
        except MemoryError:
            return OUT_OF_MEMORY
        except (BrokenPipeError, ConnectionResetError, EOFError):
            return DONE  # nobody listens any more
        except Exception:  # noqa: BLE001  (a mistake of ours: told, so that it gets into a log)
            send(answers, {"bug": traceback.format_exc()[-4000:]})
    return DONE


def _answer(answers: socket.socket, file: int, limits: Limits) -> None:
    with open_file(open(file, "rb"), limits=limits) as media:
        send(answers, {"info": asdict(media.info)})
        asked = receive(answers)
        for frame in media.sample(asked["sample"], exact=asked["exact"]):
            send(answers, {"frame": [frame.index, frame.time]})
            answers.sendall(frame.image.data)
    send(answers, {"end": True})


if __name__ == "__main__":
    main(int(sys.argv[1]))
