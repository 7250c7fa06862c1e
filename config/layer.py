"""Sending to whoever listens on WebSockets, from any thread and any process of the site."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


class _ServerLoop:
    """The event loop that serves WebSockets, when it runs in this very process."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None


_server = _ServerLoop()


def set_server_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Tell ``send`` where the consumers of this process live.

    The in-memory channel layer's queues are not thread-safe: a message that a worker thread puts there does not
    wake the loop, and reaches the client only when something else does (20 ms to 1 s later). Sending *on* that loop
    takes 1-2 ms.
    """
    _server.loop = loop


def send(group: str, message: dict[str, Any]) -> None:
    """Send to every consumer in a group. Never fails: who listens must be able to do without."""
    loop = _server.loop
    if loop is not None and not loop.is_closed():
        asyncio.run_coroutine_threadsafe(_send(group, message), loop).add_done_callback(partial(_log_failure, group))
        return
    try:
        async_to_sync(_send)(group, message)
    except (OSError, RedisError) as error:
        logger.warning("event to %s not sent: %s", group, error)


async def _send(group: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group, message)


def _log_failure(group: str, future: Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.warning("event to %s not sent: %s", group, error)
