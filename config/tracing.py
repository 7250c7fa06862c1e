"""The request's name travels with the message, so that one search finds what web server and workers did for it."""

from __future__ import annotations

from typing import Any

from dramatiq import Broker, Message, Middleware
from dramatiq.broker import MessageProxy

from config import log, request_id


class Tracing(Middleware):
    """Writes request and analysis into each message's options, and works in their name where it is processed.

    Must come first in the list of middleware: Dramatiq calls the first one first before a message, and last after it.
    """

    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:
        # What is sent again (a retry, a delay) keeps what it came with.
        for name, value in (("request_id", request_id.current()), ("analysis_id", log.analysis())):
            if value:
                message.options.setdefault(name, value)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        # A message that no request asked for gets a name of its own.
        request_id.begin(message.options.get("request_id", ""))
        log.begin(message.options.get("analysis_id", ""))

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        _rest()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        _rest()

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        # Given up: that comes after the message was processed, and is logged, too.
        self.before_process_message(broker, message)

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        _rest()


def _rest() -> None:
    """Between two messages a thread works for nobody."""
    request_id.end()
    log.begin("")
