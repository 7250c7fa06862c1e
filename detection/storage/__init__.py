"""Where files lie: in a folder of this machine (``folder``), or in an S3 bucket (``bucket``).

Names are relative to the folder or to the bucket's prefix: ``<upload>/source.mp4``, and what was derived from it in
``<upload>/<analysis>``, which is called a folder here even where it is only the beginning of names. Nobody else makes
paths of them. What goes away while somebody reads or writes it is each store's own business.
"""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from django.core.files.storage import storages

from detection.problems import StorageAwayError

if TYPE_CHECKING:  # Dramatiq's middleware imports this package before there are models
    from detection.models import Analysis, Upload

__all__ = ["ARRIVING", "TRASH", "Attempt", "Remote", "StorageAwayError", "Store", "Stored", "Write", "older"]
__all__ += ["remove_folder", "source", "store"]

T = TypeVar("T")
TRASH = ".trash-"
ARRIVING = timedelta(hours=12)  # a large file over a slow line may take so long; what is older was given up


class Remote(ABC):
    """A stored file that lies elsewhere; the part of ``pathlib.Path`` that is asked of one, and its address."""

    @abstractmethod
    def exists(self) -> bool: ...

    @abstractmethod
    def unlink(self, missing_ok: bool = False) -> None:
        """Remove it. It is no error if it is gone already, whatever ``missing_ok`` says."""

    @abstractmethod
    def read_bytes(self) -> bytes:
        """Raises FileNotFoundError."""

    @abstractmethod
    def address(self, method: str, *, mime: str, disposition: str) -> str:
        """A URL that lets whoever has it read this file for ``settings.S3_URL_SECONDS``, and do nothing else.

        Args:
            method: GET or HEAD; it is good for this one alone.
            mime, disposition: what the answer says of itself, whatever is stored with the file.
        """


Stored = Path | Remote
Write = Callable[[str, bytes], None]


class Attempt(Protocol):
    """The pictures that one run of an analysis writes. They count once they are in place, all of them or none."""

    def writing(self) -> AbstractContextManager[Write]:
        """Gives what writes a picture by its name ("faces/0.jpg"). All are written when it ends without an error."""

    def put_in_place(self) -> None:
        """Make them the analysis' pictures; the last step of the transaction that says so in its row."""

    def discard(self) -> None:
        """Remove what was written, unless it was put in place."""


class Store(Protocol):
    """A folder or a bucket. Everything may raise OSError."""

    where: str  # for the log

    def stored(self, name: str) -> Stored:
        """The file of this name, whether it is there or not."""

    def picture(self, analysis: Analysis, name: str) -> Stored:
        """A picture of an analysis ("faces/0.jpg"), whether it is there or not."""

    def local_copy(self, upload: Upload, on_piece: Callable[[], None]) -> AbstractContextManager[Path]:
        """The file that was sent as a file of this machine; there is none at the path if it is gone.

        ``on_piece`` is called again and again while it is fetched, if it has to be, and may raise to stop that.
        """

    def attempt(self, analysis: Analysis, token: uuid.UUID) -> Attempt:
        """For the run that has just claimed this analysis."""

    def remove_leftovers(self, analysis: Analysis) -> None:
        """Remove what earlier attempts wrote whose worker died. The one that has just claimed has written nothing."""

    def has_folder(self, folder: str) -> bool: ...

    def size_of(self, folder: str) -> int:
        """Bytes of all files in it; 0 if there is none."""

    def set_aside(self, folder: str) -> Callable[[], None]:
        """Make sure that what is in it goes and that nothing else does. Returns what removes it for good.

        It may be gone, and somebody else may be removing it, too. What is put there afterwards is left alone.
        """

    # -- For the clean-up

    def is_marked(self) -> bool:
        """Whether ``mark`` was called once: it is ours, and not an empty one in its place."""

    def mark(self) -> None: ...

    def folders(self) -> Iterator[PurePosixPath]:
        """What lies at the top, also what is not ours."""

    def inside(self, folder: PurePosixPath) -> list[PurePosixPath]:
        """What lies in an upload's folder: files, and folders of pictures; nothing if it is gone."""

    def kept(self, analysis: Analysis) -> set[str]:
        """Which folders of pictures an analysis needs, whose pictures are not deleted."""

    def changed(self, name: PurePosixPath) -> float:
        """When something last happened there, in seconds since 1970. Raises FileNotFoundError."""

    def keeps_what_is_deleted(self) -> bool:
        """Whether older versions stay, which somebody could bring back."""

    def is_folder(self, name: PurePosixPath) -> bool:
        """Whether this, which was inside an upload's folder, is a folder of pictures, and no file."""

    def trash(self, age: timedelta) -> Iterable[Callable[[], None]]:
        """What removes each folder that was set aside so long ago and is still there."""

    def unfinished(self, age: timedelta) -> Iterable[Callable[[], None]]:
        """What removes each file that began to arrive so long ago and still does."""


def store() -> Store:
    """The one that ``settings.STORAGES`` names."""
    return cast(Store, storages["default"])


def source(upload: Upload) -> Stored:
    """The file that was sent, whether it is still there or not."""
    return store().stored(str(upload.file.name))


def older(things: Iterable[T], age: timedelta, changed: Callable[[T], float]) -> Iterator[T]:
    """Those to which nothing has happened for so long. ``changed`` says when, as ``Store.changed`` does."""
    limit = time.time() - age.total_seconds()
    for thing in things:
        try:
            if changed(thing) < limit:
                yield thing
        except FileNotFoundError:
            continue  # somebody else removes it


def remove_folder(folder: str) -> None:
    """Remove a folder, also while a worker writes into it."""
    store().set_aside(folder)()
