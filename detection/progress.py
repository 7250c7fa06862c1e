"""Events: what a page hears while an analysis runs. The row is the truth; an event only says that it changed."""

from __future__ import annotations

import asyncio
import logging
import uuid
from concurrent.futures import Future
from typing import Any, Literal, TypedDict

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from detection.models import Analysis

logger = logging.getLogger(__name__)

# The handler's name in the consumer: Channels turns "analysis.event" into the method `analysis_event`.
LAYER_TYPE = "analysis.event"


class State(TypedDict):
    """What every event about an analysis says. Times in seconds, percent 0 to 100, score 0 to 1."""

    id: str
    revision: int
    status: str
    stage: str
    percent: int
    frames_done: int
    frames_total: int
    eta_seconds: float | None
    verdict: str | None
    score: float | None
    error: dict[str, str] | None


class Updated(State):
    """Sent whenever the row changed; the last one has a terminal status."""

    type: Literal["analysis.updated"]


class Snapshot(State):
    """Sent once to whoever connects; ``points`` are all scores so far as [time, score]."""

    type: Literal["analysis.snapshot"]
    points: list[list[float]]


class Scored(TypedDict):
    """Scores that have just become known."""

    type: Literal["analysis.scored"]
    id: str
    revision: int
    points: list[list[float]]


Event = Updated | Scored


def group_name(analysis_id: uuid.UUID) -> str:
    return f"analysis.{analysis_id}"


def state(analysis: Analysis) -> State:
    return {
        "id": str(analysis.pk),
        "revision": analysis.revision,
        "status": analysis.status,
        "stage": analysis.stage,
        "percent": analysis.percent,
        "frames_done": analysis.frames_done,
        "frames_total": analysis.frames_total,
        "eta_seconds": analysis.eta_seconds,
        "verdict": analysis.final_verdict or None,
        "score": analysis.score,
        "error": analysis.error,
    }


def updated(analysis: Analysis) -> Updated:
    return {"type": "analysis.updated", **state(analysis)}


def snapshot(analysis: Analysis) -> Snapshot:
    return {"type": "analysis.snapshot", **state(analysis), "points": analysis.points}


def scored(analysis: Analysis, points: list[list[float]]) -> Scored:
    return {
        "type": "analysis.scored",
        "id": str(analysis.pk),
        "revision": analysis.revision,
        "points": points,
    }


class _ServerLoop:
    """The event loop that serves WebSockets, when it runs in this very process."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None


_server = _ServerLoop()


def set_server_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Tell ``publish`` where the consumers of this process live.

    The in-memory channel layer's queues are not thread-safe: a message that a worker thread puts there does not
    wake the loop, and reaches the client only when something else does (20 ms to 1 s later). Sending *on* that loop
    takes 1-2 ms.
    """
    _server.loop = loop


def publish(analysis_id: uuid.UUID, *events: Event) -> None:
    """Send events to everybody who watches, in this order. Never fails: clients learn the truth from the row."""
    loop = _server.loop
    group = group_name(analysis_id)
    if loop is not None and not loop.is_closed():
        asyncio.run_coroutine_threadsafe(_send(group, events), loop).add_done_callback(_log_failure)
        return
    try:
        async_to_sync(_send)(group, events)
    except (OSError, RedisError) as error:
        logger.warning("event of analysis %s not sent: %s", analysis_id, error)


async def _send(group: str, events: tuple[Event, ...]) -> None:
    layer = get_channel_layer()
    assert layer is not None
    # One message for all: two publishers that run at once cannot get between the events of one of them.
    await layer.group_send(group, {"type": LAYER_TYPE, "events": list(events)})


def _log_failure(future: Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        logger.warning("event not sent: %s", error)
