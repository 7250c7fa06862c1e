"""Looks after work that got lost, from inside every worker process."""

from __future__ import annotations

import logging
import threading
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections
from django.utils.module_loading import import_string
from dramatiq import Broker, DramatiqError, Middleware, Worker

logger = logging.getLogger(__name__)


class Sweeper(Middleware):
    """Calls ``settings.SWEEP`` every ``settings.SWEEP_SECONDS`` while a worker runs.

    A thread instead of a scheduler service: the sweep is one cheap query and safe to run in several workers at
    once, so there is nothing to elect a leader for. The function is named by a path because Dramatiq's middleware
    is built before Django's models can be imported.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        if self._thread is not None and self._thread.is_alive():
            return  # two workers in one process (manage.py serve): one sweeps for both
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._thread.start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        sweep = import_string(settings.SWEEP)
        while True:
            self._sweep_once(sweep)
            if self._stop.wait(settings.SWEEP_SECONDS):
                return

    @staticmethod
    def _sweep_once(sweep: Any) -> None:
        try:
            sweep()
        except (DatabaseError, DramatiqError, OSError) as error:
            # Database or broker is away for a moment: the next round will do it.
            logger.warning("sweep put off: %s", error)
        except Exception:
            logger.exception("sweep failed")  # the thread lives on: other work is lost without it
        finally:
            connections.close_all()
