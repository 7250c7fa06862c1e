"""A disk that is soon full, for tests of what happens then."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import lacking

KIB = 1024


@contextmanager
def small_disk(folder: Path, size: int = 64 * KIB) -> Iterator[Path]:
    """A file system of its own with so many bytes, at ``folder``. Needs the right to mount one (root, in CI)."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        lacking("needs the right to mount a small tmpfs")
    try:
        yield folder
    finally:
        # Lazily: a process that has just been ended may still hold a file on it, and that is not what is tested.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
