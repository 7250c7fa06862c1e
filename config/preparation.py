"""What a worker's thread does before its first message, which would otherwise wait for it."""

from __future__ import annotations

from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string
from dramatiq import Broker, Middleware
from dramatiq.worker import WorkerThread


class Preparation(Middleware):
    """Calls what ``settings.PREPARATIONS`` names for the queues that a thread works on, once each.

    By path because Dramatiq's middleware is built before Django's models can be imported. What is raised is logged by
    Dramatiq, and the thread goes to work all the same.
    """

    def after_worker_thread_boot(self, broker: Broker, thread: WorkerThread) -> None:
        del broker
        wanted = {settings.PREPARATIONS[queue] for queue in thread.consumers if queue in settings.PREPARATIONS}
        try:
            for path in sorted(wanted):
                import_string(path)()
        finally:
            connections.close_all()
