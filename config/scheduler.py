"""Does what is to be done regularly, from inside every worker process.

APScheduler 3 and not periodiq: periodiq wants a process of its own, and the embedded server has only one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections
from django.utils.module_loading import import_string
from dramatiq import Broker, DramatiqError, Middleware, Worker
from redis.exceptions import RedisError

from config import metrics, request_id

logger = logging.getLogger(__name__)

RARE = 3600  # seconds: what is done no more often than this may take long
PATIENCE = 10.0  # seconds for what runs to end, when the worker stops; with its own 25 less than what kills it after 40


class Leader(Protocol):
    """What ``settings.JOB_LEADER`` makes."""

    def leads(self) -> bool:
        """Take or renew the right to run the jobs; False while another process has it."""

    def resign(self) -> None:
        """Give it up, so that another one need not wait until it runs out."""


class Scheduler(Middleware):
    """Runs ``settings.JOBS`` while a worker runs, if this is the process whose turn it is.

    Every worker has a scheduler, and ``settings.JOB_LEADER`` lets one of them work; when that one dies, the next one
    does. Should two of them think for a moment that it is they (a process that was stopped and goes on), nothing is
    harmed: every job may run twice. Functions are named by paths because Dramatiq's middleware is built before Django's
    models can be imported.

    Stands before DatabaseFirst and ShutdownNotifications, see ``before_worker_shutdown``.
    """

    def __init__(self) -> None:
        self._scheduler: BackgroundScheduler | None = None
        self._leader: Leader | None = None
        self._ending: threading.Thread | None = None

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        if self._scheduler is not None:
            return  # two workers in one process (manage.py serve): one scheduler for both
        self._leader = import_string(settings.JOB_LEADER)()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # Jobs wait for each other, so that they do not keep SQLite from the analyses; but not the frequent ones,
            # each of which renews the leadership, for a clean-up that asks a bucket for hours.
            executors={"default": ThreadPoolExecutor(1), "rare": ThreadPoolExecutor(1)},
            # Late is better than never, and once is enough.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for path, seconds in settings.JOBS:
            self._scheduler.add_job(
                run,
                "interval",
                args=[self._leader, path],
                id=path,
                executor="rare" if seconds >= RARE else "default",
                seconds=seconds,
                next_run_time=datetime.now(UTC),
            )
        self._scheduler.start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Begin nothing new, neither jobs nor messages, before what is at work is interrupted.

        Dramatiq stops its threads only after this: one that has handed its work back would take the next message, and
        nobody would interrupt that one.
        """
        del broker
        for thread in worker.workers:
            thread.stop()
        if self._scheduler is not None:
            # In a thread: it waits for the jobs that run, however long they take.
            self._ending = threading.Thread(target=self._scheduler.shutdown, name="end of jobs", daemon=True)
            self._ending.start()
            self._scheduler = None

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        if self._ending is None or self._leader is None:
            return
        self._ending.join(PATIENCE)
        if self._ending.is_alive():
            logger.warning("a regular job is still at work; it does no harm to kill it")
        self._ending = None
        _safely("leadership", self._leader.resign)


def run(leader: Leader, path: str) -> None:
    """Run one job, if it is this process's turn."""

    def job() -> None:
        if leader.leads():
            with metrics.counted_job(path):
                import_string(path)()

    request_id.begin()  # so that the lines of one run can be told from another's
    _safely(path, job)


def _safely(what: str, work: Callable[[], None]) -> None:
    """Anything else that is raised is a bug: APScheduler logs it and runs the job again at its next time."""
    try:
        work()
    except (DatabaseError, InterfaceError, DramatiqError, RedisError, OSError) as error:
        # Database, broker, Redis or disk is away for a moment: the next round will do it.
        logger.warning("%s put off: %s", what, error)
    finally:
        connections.close_all()
