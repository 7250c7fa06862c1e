"""Who works on what: pictures, videos, and what is to be told, each without waiting for the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from django.core.management import CommandError, call_command
from django_dramatiq.management.commands import rundramatiq
from dramatiq.cli import make_argument_parser
from dramatiq.common import q_name

from detection import runner, services, tasks
from detection.engine.types import AnalysisResult
from detection.management.commands import worker as command
from detection.management.commands.serve import EmbeddedWorker
from detection.models import Analysis
from detection.workers import SETS
from tests import factories
from tests.fakes import FakePipeline

PATIENCE = 60


def test_every_queue_is_somebody_s_and_each_has_one_set():
    queues = [queue for workers in SETS.values() for queue in workers.queues]
    declared = {q_name(name) for name in dramatiq.get_broker().get_declared_queues()}
    assert sorted(queues) == sorted(declared - {"default"})  # django-dramatiq's own, for tasks that we do not have
    assert len(queues) == len(set(queues))


def test_what_takes_long_is_never_taken_in_advance():
    """And never beside another queue: a process takes from each that it listens to."""
    for name in ("images", "videos"):
        assert (len(SETS[name].queues), SETS[name].threads, SETS[name].prefetch) == (1, 1, 1)


class Gated(FakePipeline):
    """Holds the video until it is let through."""

    def __init__(self, video: Path) -> None:
        super().__init__()
        self.video = video
        self.begun, self.open = threading.Event(), threading.Event()

    def run(self, path: Path, *args: Any, **kwargs: Any) -> AnalysisResult:
        if path == self.video:
            self.begun.set()
            assert self.open.wait(PATIENCE)
        return super().run(path, *args, **kwargs)


@pytest.mark.django_db(transaction=True)
def test_a_picture_that_comes_while_a_video_is_analysed_ends_first(monkeypatch):
    """Where web server and worker are one process. The video ends only once the picture has."""
    video = factories.make_analysis(upload=factories.make_upload(kind="video", mime="video/mp4"))
    picture = factories.make_analysis()
    engine = Gated(Path(video.upload.file.path))
    monkeypatch.setattr(runner.run, "__kwdefaults__", {"engine": engine})
    monkeypatch.setattr("django.conf.settings.JOBS", ())
    monkeypatch.setattr(services, "requeue_unfinished", lambda **_: 0)  # sends what the test wants to send itself
    broker = dramatiq.get_broker()
    worker = EmbeddedWorker()
    worker.start()
    try:
        services.send(video.pk)
        assert engine.begun.wait(PATIENCE)
        services.send(picture.pk)
        broker.join(tasks.IMAGES, timeout=PATIENCE * 1000)
        assert [Analysis.objects.get(pk=one.pk).status for one in (picture, video)] == ["succeeded", "running"]
        engine.open.set()
        broker.join(tasks.VIDEOS, timeout=PATIENCE * 1000)
    finally:
        engine.open.set()
        worker.stop()
    assert Analysis.objects.get(pk=video.pk).status == "succeeded"


def test_the_command_needs_a_queue_that_processes_share():
    with pytest.raises(CommandError, match="is the worker, too"):
        call_command("worker")


def test_a_set_that_there_is_not(settings):
    settings.EMBEDDED = False
    with pytest.raises(CommandError, match="There is no set photos; there are images, videos, outgoing"):
        call_command("worker", "videos", "photos")


# What `manage.py worker videos` turns into, and what it has loaded until then.
STARTED = """
import json, os, sys
from django.apps import apps
def become(program, command):
    loaded = [name for name in ("django.urls", "detection.models", "dramatiq", "numpy") if name in sys.modules]
    print(json.dumps([command, os.environ["dramatiq_worker_timeout"], apps.ready, loaded]))
    sys.exit(0)
os.execv = become
sys.argv = ["manage.py", "worker", "videos", "--processes", "3"]
import manage
manage.main()
"""


def test_the_command_sets_no_site_up_that_the_worker_sets_up_again(settings):
    environment = {**os.environ, "REDIS_URL": "redis://localhost:1/0", "VERIFRAME_MEDIA_ROOT": str(settings.MEDIA_ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", STARTED], cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    begun, look_every, is_set_up, loaded = json.loads(done.stdout)
    assert (is_set_up, loaded) == (False, [])
    assert begun[:3] == [sys.executable, "-m", "dramatiq"]
    options = make_argument_parser().parse_args(begun[3:])
    assert (options.broker, *options.modules) == command.MODULES
    assert (options.processes, options.threads, options.queues) == (3, 1, ["videos"])
    assert options.worker_shutdown_timeout == command.STOP_SECONDS * 1000
    assert look_every == str(command.LOOK_EVERY)


def test_its_modules_are_those_that_django_dramatiq_finds():
    assert list(command.MODULES) == rundramatiq.Command().discover_tasks_modules()


def test_workers_do_not_start_where_no_file_can_be_kept(settings, tmp_path: Path):
    settings.EMBEDDED, settings.MEDIA_ROOT = False, tmp_path / "file"
    settings.MEDIA_ROOT.touch()
    with pytest.raises(CommandError, match="folder for uploads cannot be written"):
        call_command("worker", "images")


@pytest.mark.django_db(transaction=True)
def test_a_server_that_stops_hands_back_the_picture_and_the_video(monkeypatch):
    """Both are at work; what interrupts the one must not interrupt the other's handing back."""
    begun = threading.Semaphore(0)

    def work(frame: int) -> None:
        begun.release()
        while True:  # until the worker's shutdown is raised in here
            threading.Event().wait(0.01)

    monkeypatch.setattr(runner.run, "__kwdefaults__", {"engine": FakePipeline(between=work)})
    monkeypatch.setattr("django.conf.settings.JOBS", ())
    monkeypatch.setattr(services, "requeue_unfinished", lambda **_: 0)
    analyses = [factories.make_analysis(upload=factories.make_upload(kind=kind)) for kind in ("image", "video")]
    worker = EmbeddedWorker()
    worker.start()
    try:
        for analysis in analyses:
            services.send(analysis.pk)
            assert begun.acquire(timeout=PATIENCE)
    finally:
        worker.stop()
    rows = [Analysis.objects.get(pk=analysis.pk) for analysis in analyses]
    assert [(row.status, row.attempts, row.claim_token) for row in rows] == [("queued", 0, None)] * 2


# Stands in for manage.py: one set dies once the other is there, which says how it was stopped.
STAND_IN = """
import pathlib, signal, sys, time
here, name = pathlib.Path(__file__).parent, sys.argv[2]
if name == "images":
    while not (here / "ready").exists():
        time.sleep(0.01)
    sys.exit(3)
def stop(*_):
    (here / name).write_text("stopped in order")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
(here / "ready").touch()
time.sleep(600)
"""


def test_if_one_set_ends_by_itself_the_others_are_stopped(tmp_path: Path, settings):
    """So whoever watches over the command starts all of it anew."""
    (tmp_path / "manage.py").write_text(STAND_IN)
    settings.EMBEDDED, settings.BASE_DIR = False, tmp_path
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(CommandError, match="The workers of images ended by themselves"):
            call_command("worker", "images", "videos")
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert (tmp_path / "videos").read_text() == "stopped in order"
