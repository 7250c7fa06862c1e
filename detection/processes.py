"""Processes of our own: for what needs packages that a server does not have, or opens what may be hostile."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any

from django.conf import settings

# All that they get to see of our environment: no keys, no addresses of databases.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "TERM")


def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run to the end, on the CPU. ``options`` are ``subprocess.run``'s; a failure is the caller's to look for."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    environment = {**kept, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    # Nothing in it comes from outside: paths are arguments of their own, behind no shell.
    return subprocess.run(command, env=environment, cwd=settings.BASE_DIR, check=False, **options)  # noqa: S603


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why it failed, in a line; its ``stderr`` was captured."""
    if done.returncode < 0:
        return f"It was killed by signal {-done.returncode}; perhaps there was not enough memory."
    lines = (done.stderr or "").strip().splitlines() or ["It ended without a word."]
    if lines[-1].startswith("ModuleNotFoundError"):
        return f"{lines[-1]}. This needs the packages in requirements-training.txt."
    return lines[-1]
