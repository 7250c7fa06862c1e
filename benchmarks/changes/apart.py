"""Engines in processes of their own: that of another commit, or one that loads TensorFlow."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.changes import measuring
from benchmarks.changes.measuring import Outcome, Run

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ("detection/__init__.py", "detection/engine")  # it needs nothing else of the repository


class UnknownCommitError(Exception):
    """This checkout has no such commit, or no history at all."""


def unpack(commit: str, folder: Path) -> Path:
    """The engine as it was at ``commit``, in ``folder``. Returns that. Raises UnknownCommitError."""
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit, "--", *ENGINE]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UnknownCommitError("git is not installed") from error
    if done.returncode:
        raise UnknownCommitError(done.stderr.decode(errors="replace").strip())
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@dataclass(frozen=True, slots=True)
class Engine:
    run: Run
    ready: float  # seconds from the process's start until it takes a file


@contextmanager
def engine(tree: Path = ROOT, **options: Any) -> Iterator[Engine]:
    """Runs files in another process, with the engine of ``tree`` and what ``options`` say of EngineConfig.

    The process leaves its log, and why it could not start, on the error output of this one.
    """
    began = time.perf_counter()
    # -P: nothing of this checkout is found but what PYTHONPATH says.
    command = [sys.executable, "-P", measuring.__file__, json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "3"}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tree, env=environment, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def answer() -> str:
            line = process.stdout.readline()  # type: ignore[union-attr]
            if not line:
                raise RuntimeError(f"the engine of {tree} ended")
            return line

        def run(path: Path) -> Outcome:
            print(path.resolve(), file=process.stdin, flush=True)
            outcome: Outcome = json.loads(answer())
            return outcome

        answer()
        yield Engine(run, time.perf_counter() - began)
        process.stdin.close()  # and so it ends
