"""Files in a folder of this machine, or in one that all machines share: a rename is what makes things whole."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.storage import FileSystemStorage

from detection.storage import TRASH, Write, older

if TYPE_CHECKING:
    from detection.models import Analysis, Upload

MARK = ".veriframe"


class Folder(FileSystemStorage):
    """Django's own under ``MEDIA_ROOT``, as a ``Store``."""

    @property
    def root(self) -> Path:
        return Path(settings.MEDIA_ROOT)

    @property
    def where(self) -> str:
        return str(self.root)

    def stored(self, name: str) -> Path:
        return self.root / name

    def picture(self, analysis: Analysis, name: str) -> Path:
        return self.root / analysis.folder / name

    @contextmanager
    def local_copy(self, upload: Upload, on_piece: Callable[[], None]) -> Iterator[Path]:
        del on_piece  # it is here
        yield self.root / str(upload.file.name)

    def attempt(self, analysis: Analysis, token: uuid.UUID) -> FolderAttempt:
        return FolderAttempt(self.root / analysis.folder, token)

    def remove_leftovers(self, analysis: Analysis) -> None:
        place = self.root / analysis.folder
        for leftover in place.parent.glob(f".{place.name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def has_folder(self, folder: str) -> bool:
        return (self.root / folder).is_dir()

    def size_of(self, folder: str) -> int:
        return sum(path.stat().st_size for path in (self.root / folder).rglob("*") if path.is_file())

    def set_aside(self, folder: str) -> Callable[[], None]:
        # Moved away first: a file that is just being written would make rmtree fail half-way.
        trash = self.root / f"{TRASH}{uuid.uuid4()}"
        try:
            (self.root / folder).rename(trash)
        except FileNotFoundError:
            return _nothing
        return partial(_burn, trash)

    # -- For the clean-up

    def is_marked(self) -> bool:
        return (self.root / MARK).exists()

    def mark(self) -> None:
        (self.root / MARK).touch(mode=0o600)

    def folders(self) -> Iterator[PurePosixPath]:
        with os.scandir(self.root) as entries:
            yield from (PurePosixPath(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False))

    def inside(self, folder: PurePosixPath) -> list[PurePosixPath]:
        try:
            return [folder / name for name in os.listdir(self.root / folder)]  # noqa: PTH208  (names are wanted)
        except FileNotFoundError:
            return []  # deleted since it was listed

    def kept(self, analysis: Analysis) -> set[str]:
        running = analysis.status == analysis.Status.RUNNING
        return {analysis.folder} | ({_unfinished(analysis.folder, analysis.claim_token)} if running else set())

    def changed(self, name: PurePosixPath) -> float:
        return _changed(self.root / name)

    def keeps_what_is_deleted(self) -> bool:
        return False

    def is_folder(self, name: PurePosixPath) -> bool:
        return (self.root / name).is_dir()

    def trash(self, age: timedelta) -> Iterable[Callable[[], None]]:
        return [partial(_burn, path) for path in older(self.root.glob(f"{TRASH}*"), age, _changed)]

    def unfinished(self, age: timedelta) -> Iterable[Callable[[], None]]:
        del age
        return ()  # what arrives half lies elsewhere, see config.uploads


class FolderAttempt:
    """Pictures in a folder beside their destination, so that a rename is enough."""

    def __init__(self, place: Path, token: uuid.UUID) -> None:
        self.place = place
        self.folder = place.parent / PurePosixPath(_unfinished(place.name, token))

    @contextmanager
    def writing(self) -> Iterator[Write]:
        # parents=False: if the upload was deleted meanwhile, its folder must not come back.
        self.folder.mkdir(mode=0o700)
        for name in ("faces", "heatmaps", "tracks"):
            (self.folder / name).mkdir()
        yield self._write

    def _write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def put_in_place(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)  # of an attempt whose commit failed
        self.folder.rename(self.place)

    def discard(self) -> None:
        # Nothing is there after a success; what cannot be removed now, the next attempt removes.
        shutil.rmtree(self.folder, ignore_errors=True)


def _unfinished(folder: str, token: uuid.UUID | None) -> str:
    """Where an attempt writes whose result belongs into ``folder``."""
    place = PurePosixPath(folder)
    return str(place.with_name(f".{place.name}-{token}"))


def _nothing() -> None:
    """There is nothing to remove, or somebody else removes it."""


def _changed(path: Path) -> float:
    return path.lstat().st_ctime  # which a move sets, too


def _burn(path: Path) -> None:
    """Remove a folder with all that is in it; somebody else may be doing the same."""
    shutil.rmtree(path, onerror=_unless_gone)


def _unless_gone(function: Callable[..., Any], path: str, error: Any) -> None:
    del function, path
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]
