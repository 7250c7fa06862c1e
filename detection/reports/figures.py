"""How figures are written and put in order, the same on pages and in the PDF. Looks at nothing but its arguments."""

from __future__ import annotations

import math
from typing import Any

from django.utils.formats import get_format, number_format

TINY = 1e-6  # 0.55 is a little more than 0.55 in binary, which is not meant


def timecode(seconds: float | None) -> str:
    """Seconds as ``m:ss.t``, the form that the player and the timeline show: 63.25 -> ``1:03.3``, German ``1:03,3``."""
    if seconds is None:
        return ""
    tenths = round(float(seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes}:{rest // 10:02d}{get_format('DECIMAL_SEPARATOR')}{rest % 10}"


def decimals(value: float | None, places: int = 2) -> str:
    """A number with fixed decimals in the reader's language, or a dash where there is none."""
    # Rounded first: number_format() only cuts digits off.
    return "–" if value is None else number_format(round(value, places), places)


def score(value: float | None) -> str:
    """A score with two decimals, rounded down: with ``limit``, 0.966 never reads like a score at 0.968."""
    return "–" if value is None else decimals(math.floor(value * 100 + TINY) / 100)


def percent(value: float) -> str:
    """A share as per cent, with one decimal below ten: 0.0048 -> ``0.5 %``."""
    hundred = 100 * value
    return f"{decimals(hundred, 1 if hundred < 10 else 0)} %"


def limit(value: float) -> str:
    """A threshold with two decimals, rounded up."""
    return decimals(math.ceil(value * 100 - TINY) / 100)


def needle(result: dict[str, Any]) -> int:
    """Where the score stands on the verbal scale, 0 to 1000.

    Each verdict has a third of the scale however near to each other the thresholds lie; the ticks carry the numbers.
    ``Samples.level`` in static/js/samples.js is the same function.
    """
    return round(1000 * level(result["score"], result["suspicious_threshold"], result["threshold"]))


def level(value: float, low: float, high: float) -> float:
    """The height of a score on the verbal scale, 0 to 1; ``low`` and ``high`` are the two thresholds."""
    if value < low:
        return value / low / 3
    if value < high:
        return (1 + (value - low) / (high - low)) / 3
    return (2 + (value - high) / (1 - high)) / 3


def people(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The tracks of a result, each with the ``person`` number (from 1) that pages call it by."""
    return [{**track, "person": number} for number, track in enumerate(result["tracks"], start=1)]


def crowd(tracks: list[dict[str, Any]], few: int) -> list[dict[str, Any]]:
    """``people`` as they are, or if they are more than a ``few`` those with the highest scores first."""
    if len(tracks) <= few:
        return tracks
    return sorted(tracks, key=lambda track: -1.0 if track["score"] is None else track["score"], reverse=True)


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
