"""``manage.py worker``: the workers of a site with Redis, as many sets of them as are named.

It starts the processes that work, which load the site themselves. So it does without: ``manage.py`` runs it before
Django is set up, and only settings are there.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from detection.checks import media_folder_is_usable
from detection.workers import SETS

# What runs is handed back at once, but between two steps of Python only: a long decode ends first. Less than
# service managers wait before they kill (compose.yaml and config/deploy/systemd say 40).
STOP_SECONDS = 25
# Milliseconds between two looks of an idle worker into Redis, at most. Dramatiq's second would be, on average, longer
# than a photo takes.
LOOK_EVERY = 100
# What `manage.py rundramatiq` finds by loading the whole site, which takes as long as the worker's own start.
MODULES = ("django_dramatiq.setup", "django_dramatiq.tasks", "detection.tasks")


class Command(BaseCommand):
    help = "Work on what waits in the queues: as one set of workers, or as several, each in processes of its own."
    requires_system_checks = ()  # most of them are about pages; what a worker needs is asked below

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(SETS)}; all of them if none is named")
        parser.add_argument("--processes", type=int, default=1, help="of each set that is named")

    def handle(self, *, sets: list[str], processes: int, **options: object) -> None:
        if settings.EMBEDDED:
            raise CommandError("Without REDIS_URL `manage.py serve` is the worker, too.")
        unknown = sorted(set(sets) - set(SETS))
        if unknown:
            raise CommandError(f"There is no set {', '.join(unknown)}; there are {', '.join(SETS)}.")
        if problems := media_folder_is_usable(None):
            raise CommandError("\n".join(map(str, problems)))
        if len(sets) == 1:
            _become(sets[0], processes)
        elif failed := _run_together(sets or list(SETS), processes):
            raise CommandError(f"The workers of {failed} ended by themselves, so the others were stopped.")


def _become(name: str, processes: int) -> None:
    """Turn this process into Dramatiq's own command, which starts the workers and ends if one of them dies."""
    workers = SETS[name]
    # There are no options for these.
    os.environ.update(dramatiq_queue_prefetch=str(workers.prefetch), dramatiq_worker_timeout=str(LOOK_EVERY))
    _limit_memory()
    # A program of its own, and not a fork of this process: what Django makes when it is set up (the broker's and the
    # worker's ids among it) belongs to one process.
    command = [sys.executable, "-m", "dramatiq", *MODULES, "--path", str(settings.BASE_DIR)]
    command += ["--processes", str(processes), "--threads", str(workers.threads)]
    command += ["--worker-shutdown-timeout", str(STOP_SECONDS * 1000), "--queues", *workers.queues]
    os.execv(sys.executable, command)  # noqa: S606  (nothing in it comes from outside)


def _limit_memory() -> None:
    """Each process that comes out of this one may have so much: beyond it an analysis fails as ``out_of_memory``, where
    the kernel would otherwise choose a victim, which might be the database.

    RLIMIT_DATA and not RLIMIT_AS: what a process has reserved and never touches is not counted, and libraries reserve
    a lot of it.
    """
    if settings.WORKER_MEMORY_BYTES:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = settings.WORKER_MEMORY_BYTES
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _run_together(names: list[str], processes: int) -> str:
    """Run several sets until a signal comes, or until one of them ends. Returns the name of that one, if any."""
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    manage = str(Path(settings.BASE_DIR, "manage.py"))
    children = {
        # In sessions of their own: Ctrl-C would reach them besides our own signal, and a second one kills at once.
        name: subprocess.Popen(  # noqa: S603  (nothing in it comes from outside)
            [sys.executable, manage, "worker", name, "--processes", str(processes)],
            start_new_session=True,
        )
        for name in names
    }
    ended = ""
    while not ended and not stop.wait(0.5):
        ended = next((name for name, child in children.items() if child.poll() is not None), "")
    for child in children.values():
        if child.poll() is None:
            child.terminate()
    for child in children.values():
        child.wait()
    return ended
