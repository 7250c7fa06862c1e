"""Files under the media root: how they go away, also while somebody reads or writes them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from detection.models import Upload

TRASH = ".trash-"
ARRIVING = timedelta(hours=12)  # a large file over a slow line may take so long; what is older was given up


def root() -> Path:
    return Path(settings.MEDIA_ROOT)


def source(upload: Upload) -> Path:
    """The file that was sent, whether it is still there or not."""
    return Path(upload.file.path)


def exists(folder: str) -> bool:
    return (root() / folder).is_dir()


def to_trash(folder: str) -> Path | None:
    """Move a folder out of the way in one step; None if there is none, or if somebody else removes it."""
    trash = root() / f"{TRASH}{uuid.uuid4()}"
    try:
        (root() / folder).rename(trash)
    except FileNotFoundError:
        return None
    return trash


def burn(path: Path | None) -> None:
    """Remove a folder with all that is in it; somebody else may be doing the same."""
    if path is not None:
        shutil.rmtree(path, onerror=_unless_gone)


def _unless_gone(function: Callable[..., Any], path: str, error: Any) -> None:
    del function, path
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


def remove_folder(folder: str) -> None:
    """Remove a folder under the media root, also while a worker writes into it."""
    # Moved away first: a file that is just being written would make rmtree fail half-way.
    burn(to_trash(folder))


def size_of(folder: str) -> int:
    """Bytes of all files in a folder under the media root; 0 if there is none."""
    return sum(path.stat().st_size for path in (root() / folder).rglob("*") if path.is_file())
