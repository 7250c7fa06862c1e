"""Does what is to be done regularly, from inside every worker process.

APScheduler 3 and not periodiq: periodiq wants a process of its own, and the embedded server has only one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from django.conf import settings
from django.db import DatabaseError, connections
from django.utils.module_loading import import_string
from dramatiq import Broker, DramatiqError, Middleware, Worker

from config import metrics, request_id

logger = logging.getLogger(__name__)


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
    """

    def __init__(self) -> None:
        self._scheduler: BackgroundScheduler | None = None
        self._leader: Leader | None = None

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        if self._scheduler is not None:
            return  # two workers in one process (manage.py serve): one scheduler for both
        self._leader = import_string(settings.JOB_LEADER)()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # One thread: jobs wait for each other, so that they do not keep SQLite from the analyses.
            executors={"default": ThreadPoolExecutor(1)},
            # Late is better than never, and once is enough.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for path, seconds in settings.JOBS:
            self._scheduler.add_job(
                run,
                "interval",
                args=[self._leader, path],
                id=path,
                seconds=seconds,
                next_run_time=datetime.now(UTC),
            )
        self._scheduler.start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        if self._scheduler is not None and self._leader is not None:
            self._scheduler.shutdown()  # waits for the job that runs
            self._scheduler = None
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
    except (DatabaseError, DramatiqError, OSError) as error:
        # Database, broker or disk is away for a moment: the next round will do it.
        logger.warning("%s put off: %s", what, error)
    finally:
        connections.close_all()
