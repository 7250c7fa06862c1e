"""Sending to whoever listens on WebSockets, from any thread and any process of the site."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import Future
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds for one event to reach Redis


class _ServerLoop:
    """The event loop that serves WebSockets, when it runs in this very process."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None


class _SendersLoop:
    """An event loop in a thread of its own, begun with the first event: for processes that serve no WebSockets.

    ``async_to_sync`` would make a loop, a thread and a connection to Redis for every event. That takes longer, and the
    process grows by some 2 KiB each time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        os.register_at_fork(after_in_child=self._forget)

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="events", daemon=True).start()
            return self._loop

    def _forget(self) -> None:
        """A fork has none of its parent's threads."""
        self._lock = threading.Lock()
        self._loop = None


_server = _ServerLoop()
_senders = _SendersLoop()


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
        if settings.EMBEDDED:  # in memory: whoever could listen does so on the loop of this very thread
            async_to_sync(_send)(group, message)
        else:
            # Waited for, so that two events of one thread arrive in their order.
            asyncio.run_coroutine_threadsafe(_in_time(group, message), _senders.get()).result()
    except (OSError, RedisError) as error:  # a TimeoutError is an OSError
        logger.warning("event to %s not sent: %s", group, type(error).__name__)


async def _in_time(group: str, message: dict[str, Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        await _send(group, message)


async def _send(group: str, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group, message)


def _log_failure(group: str, future: Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.warning("event to %s not sent: %s", group, error)
