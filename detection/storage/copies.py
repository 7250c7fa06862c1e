"""Copies on this machine of files that lie in a bucket: made for a worker, and gone when it is done or dead."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from django.conf import settings
from dramatiq import Broker, Middleware, Worker

logger = logging.getLogger(__name__)

COPIES = ".copies"


def _folder() -> Path:
    return Path(settings.MEDIA_ROOT, COPIES)


@contextmanager
def copy(suffix: str) -> Iterator[IO[bytes]]:
    """A new file with a name, until the block is left.

    It is locked meanwhile, and the kernel takes the lock from a process that is killed: whoever makes the next copy
    here, or starts the next worker, sees by that which ones nobody needs any more.
    """
    _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_abandoned()
    with _locked(suffix) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink()


def _locked(suffix: str) -> IO[bytes]:
    while True:
        file = NamedTemporaryFile(dir=_folder(), suffix=suffix, delete=False)  # noqa: SIM115  (the caller closes it)
        fcntl.flock(file, fcntl.LOCK_EX)
        if Path(file.name).exists():
            return file
        file.close()  # in the moment before it was locked somebody took it for an abandoned one


def forget_abandoned() -> None:
    """Remove the copies of workers that were killed."""
    for path in _folder().glob("*"):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue  # needed, or just removed by who made it
        logger.info("the copy of a worker that died was removed")


class ForgetsCopies(Middleware):
    """For Dramatiq: a worker that starts removes what one before it left on this machine."""

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        forget_abandoned()
