"""How long a message may take, where that is known only once its work has begun."""

from __future__ import annotations

import threading
from typing import Any

import dramatiq
from dramatiq import Broker, middleware
from dramatiq.broker import MessageProxy


class TimeLimit(middleware.TimeLimit):
    """Dramatiq's, whose limit the work itself may set: a message may be older than what is to be done now."""

    def __init__(self) -> None:
        super().__init__()
        self._working: set[int] = set()  # threads

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        super().before_process_message(broker, message)
        self._working.add(threading.get_ident())

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        self._working.discard(threading.get_ident())
        super().after_process_message(broker, message, result=result, exception=exception)

    after_skip_message = after_process_message

    def set(self, seconds: float) -> None:
        """See :func:`set_limit`."""
        if threading.get_ident() in self._working:
            self.manager.add_timeout(threading.get_ident(), seconds * 1000)


def set_limit(seconds: float) -> None:
    """The message that this thread works on may take so many seconds from now, whatever its own options say.

    Does nothing in a thread that works on no message.
    """
    for one in dramatiq.get_broker().middleware:
        if isinstance(one, TimeLimit):
            one.set(seconds)
