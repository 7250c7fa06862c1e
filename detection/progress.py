"""Events: what a page hears while an analysis runs. The row is the truth; an event only says that it changed."""

from __future__ import annotations

import uuid
from typing import Literal, TypedDict

from config import layer
from detection.models import Analysis

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


def publish(analysis_id: uuid.UUID, *events: Event) -> None:
    """Send events to everybody who watches, in this order. Never fails: clients learn the truth from the row."""
    # One message for all: two publishers that run at once cannot get between the events of one of them.
    layer.send(group_name(analysis_id), {"type": LAYER_TYPE, "events": list(events)})
