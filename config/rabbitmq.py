"""Dramatiq on RabbitMQ, fit for a web server whose threads come and go."""

from __future__ import annotations

from typing import Any

import pika.exceptions
from dramatiq import ConnectionClosed, Message
from dramatiq.brokers.rabbitmq import RabbitmqBroker

PATIENCE = 3  # seconds for a connection, and for a broker that blocks senders because its disk or memory is full


class Broker(RabbitmqBroker):
    """Sends over a connection that it closes again, and believes nothing to be sent before RabbitMQ says so.

    Dramatiq keeps a connection for each thread. Under ASGI each request has a thread of its own, so those connections
    would never be used again, and would stay open; and one that is kept but rarely used is closed by RabbitMQ, which
    the sender learns too late: what it wrote is lost without a word. Workers keep theirs, as consumers.
    """

    def __init__(self, *, url: str, **options: Any) -> None:
        super().__init__(url=url, confirm_delivery=True, **options)
        parameters: Any = self.parameters  # one set of them, out of one URL
        parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = PATIENCE

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Raises ConnectionClosed if RabbitMQ does not take it."""
        try:
            return super().enqueue(message, delay=delay)
        finally:
            del self.connection

    def ping(self) -> None:
        """Raises ConnectionClosed if RabbitMQ cannot be spoken to."""
        try:
            assert self.connection.is_open
        except pika.exceptions.AMQPError as error:
            raise ConnectionClosed(error) from None
        finally:
            del self.connection
