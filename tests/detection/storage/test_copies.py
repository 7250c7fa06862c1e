"""A worker's copy of a file in a bucket is gone when it is done, when it fails, and when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from config.uploads import IncomingFile
from detection.storage import copies
from tests.e2e.server import ROOT

HOLDS = """
import sys, pathlib
import django
from django.conf import settings
settings.configure(MEDIA_ROOT=sys.argv[1])
from config.uploads import IncomingFile
from detection.storage import copies
with copies.copy(".mp4") as file:
    file.write(b"somebody's face")
    file.flush()
    print(file.name, flush=True)
    sys.stdin.read()
"""


def held(media_root: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another worker, with a copy in its hands."""
    command = [sys.executable, "-c", HOLDS, str(media_root)]
    worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    return worker, Path(worker.stdout.readline().strip())


def test_it_is_there_as_long_as_it_is_needed(media_root: Path):
    with copies.copy(".mp4") as file:
        file.write(b"x")
        file.flush()
        path = Path(file.name)
        assert (path.read_bytes(), path.suffix, path.parent.stat().st_mode & 0o77) == (b"x", ".mp4", 0)
    assert not path.exists()
    with pytest.raises(RuntimeError), copies.copy(".mp4") as file:
        raise RuntimeError("the analysis failed")
    assert list(media_root.rglob("*.mp4")) == []


def test_the_copy_of_a_worker_that_was_killed_goes_with_the_next_one(media_root: Path):
    worker, path = held(media_root)
    with worker:
        copies.forget_abandoned()
        assert path.read_bytes() == b"somebody's face", "still in its hands"
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(timeout=30)
    assert path.exists()
    copies.ForgetsCopies().after_worker_boot(None, None)  # type: ignore[arg-type]
    assert not path.exists()


def test_many_at_once_do_not_take_each_other_s(media_root: Path):
    lost: list[str] = []

    def work() -> None:
        for _ in range(40):
            with copies.copy(".jpg") as file:
                if not Path(file.name).exists():
                    lost.append(file.name)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (lost, list(media_root.rglob("*.jpg"))) == ([], [])


def test_what_is_just_arriving_has_no_name_either(media_root: Path):
    """So nothing is left of a web server that is killed meanwhile, on whatever machine it was."""
    file = IncomingFile("clip.mp4", "video/mp4", 0, None)
    file.write(b"half a video")
    assert [path for path in media_root.rglob("*") if path.is_file()] == []
    file.seek(0)
    assert file.read() == b"half a video"
    file.close()
