"""How numbers are written on pages. Looks at nothing but its arguments."""

from __future__ import annotations

import math
from typing import Any

from django import template
from django.utils.formats import number_format

register = template.Library()

TINY = 1e-6  # 0.55 is a little more than 0.55 in binary, which is not meant


@register.filter
def timecode(seconds: float | None) -> str:
    """Seconds as ``m:ss.t``, the form that the player and the timeline show: 63.25 -> ``1:03.3``."""
    if seconds is None:
        return ""
    tenths = round(float(seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes}:{rest // 10:02d}.{rest % 10}"


@register.filter
def decimals(value: float | None, places: int = 2) -> str:
    """A number with fixed decimals in the reader's language, or a dash where there is none."""
    # Rounded first: number_format() only cuts digits off.
    return "–" if value is None else number_format(round(value, places), places)


@register.filter
def score(value: float | None) -> str:
    """A score with two decimals, rounded down: with ``limit``, 0.966 never reads like a score at 0.968."""
    return "–" if value is None else decimals(math.floor(value * 100 + TINY) / 100)


@register.filter
def limit(value: float) -> str:
    """A threshold with two decimals, rounded up."""
    return decimals(math.ceil(value * 100 - TINY) / 100)


@register.filter
def needle(result: dict[str, Any]) -> int:
    """Where the score stands on the verbal scale, 0 to 1000.

    Each verdict has a third of the scale however near to each other the thresholds lie; the ticks carry the numbers.
    ``Samples.level`` in static/js/samples.js is the same function.
    """
    value, low, high = result["score"], result["suspicious_threshold"], result["threshold"]
    if value < low:
        level = value / low
    elif value < high:
        level = 1 + (value - low) / (high - low)
    else:
        level = 2 + (value - high) / (1 - high)
    return round(1000 * level / 3)


@register.filter
def people(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The tracks of a result, each with the ``person`` number (from 1) that pages call it by."""
    return [{**track, "person": number} for number, track in enumerate(result["tracks"], start=1)]


@register.filter
def worst_first(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Flagged faces of a result, highest score first, each with its frame's time and index."""
    person = {track["id"]: number for number, track in enumerate(result["tracks"], start=1)}
    faces = [
        {**face, "time": frame["time"], "index": frame["index"], "person": person.get(face["track"], 1)}
        for frame in result["frames"]
        for face in frame["faces"]
        if face["flagged"]
    ]
    return sorted(faces, key=lambda face: -face["score"])
