"""What workers do when the database is away, and with messages that they give up."""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection
from django.utils.module_loading import import_string
from dramatiq import Broker, Middleware, Worker
from dramatiq.broker import MessageProxy

logger = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two looks for the database


class DatabaseFirst(Middleware):
    """Begins no message while the database is away.

    Otherwise one worker would take all the messages there are, fail each as often as it may, and have nothing left to
    do when the database is back. Stands before TimeLimit: waiting is not the message's fault.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        self._stopping.clear()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        del broker, worker
        self._stopping.set()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Return once the database answers. When the worker must stop first, the message fails and is tried again."""
        del broker, message
        waited = False
        while not self._stopping.is_set():
            try:
                close_old_connections()
                connection.ensure_connection()
            except (OperationalError, InterfaceError) as error:
                if not waited:
                    logger.warning("the database is away, waiting: %s", type(error).__name__)
                waited = True
                self._stopping.wait(PAUSE)
            else:
                if waited:
                    logger.warning("the database is back")
                return


class DeadLetters(Middleware):
    """Has ``settings.DEAD_LETTERS`` write down what is given up: out of retries, or for an actor that there is not.

    The function is named by a path because Dramatiq's middleware is built before Django's models can be imported.
    """

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        del broker
        try:
            import_string(settings.DEAD_LETTERS)(
                actor=message.actor_name,
                args=message.args,
                tries=message.options.get("retries", 1),
                error=message._exception,
                message_id=message.message_id,
            )
        except (DatabaseError, InterfaceError) as error:
            # The sweep sends work again whose rows are there; for the rest there is the log, and Dramatiq's own queue
            # of the dead, which Redis keeps for a week.
            logger.error("%s %s: given up and not noted: %s", message.actor_name, message.args, type(error).__name__)
        finally:
            close_old_connections()
