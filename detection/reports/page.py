"""What the page of an analysis needs besides the payload: less JSON, and notes on how well the file can be judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from detection.engine.registry import QualityLimits
from detection.models import Analysis
from detection.reports import figures, file_url

Json = dict[str, Any]

# Faces that the page's modules get to know: at some 130 bytes each they stay below 300 kB.
MOST_FACES = 1800
KEPT_WORST = 300  # flagged faces that are kept in any case


@dataclass(frozen=True, slots=True)
class Note:
    """One thing about the quality of the material. ``level`` is good, fair or poor; empty without a yardstick."""

    name: str
    value: str
    level: str
    words: str


def page_payload(analysis: Analysis, payload: Json) -> Json:
    """The payload as the page's modules read it: without what they do not draw, pictures by number.

    Of a file with more than ``MOST_FACES`` faces frames are left out evenly; the worst ones never are.
    """
    result = payload["result"]
    if result is None:
        return {key: payload[key] for key in ("id", "status", "progress", "media", "error", "result")}
    frames = [
        {"time": round(frame["time"], 3), "index": frame["index"], "faces": [_face(face) for face in frame["faces"]]}
        for frame in _thinned(result)
    ]
    kept = ("verdict", "score", "threshold", "suspicious_threshold", "total_frames", "deepfake_frames", "tracks")
    return {
        "id": payload["id"],
        "media": payload["media"],
        "pictures": file_url(analysis, "source").removesuffix("source"),
        "result": {**{key: result[key] for key in kept}, "frames": frames},
    }


def _thinned(result: Json) -> list[Json]:
    frames: list[Json] = result["frames"]
    number = sum(len(frame["faces"]) for frame in frames)
    if number <= MOST_FACES:
        return frames
    worst = {face["index"] for face in figures.worst_first(result)[:KEPT_WORST]}
    step = math.ceil(number / (MOST_FACES - KEPT_WORST))
    return [frame for place, frame in enumerate(frames) if place % step == 0 or frame["index"] in worst]


def _face(face: Json) -> Json:
    short: Json = {"track": face["track"], "box": face["box"], "score": round(face["score"], 4), "size": _size(face)}
    if face["flagged"]:
        short["flagged"] = True
    if face["crop_url"]:
        short["picture"] = int(face["crop_url"].rpartition("/")[2].partition(".")[0])
        if not face["heatmap_url"]:
            short["plain"] = True
    return short


def _size(face: Json) -> int:
    return round(face["quality"]["face_size"])


def quality_notes(payload: Json, limits: QualityLimits | None) -> list[Note]:
    """What there is to judge by: size, sharpness and light of the faces (medians), and compression."""
    faces = [face["quality"] for frame in payload["result"]["frames"] for face in frame["faces"]]
    notes = []
    if faces:
        size, sharpness, brightness = (
            median(face[key] for face in faces) for key in ("face_size", "sharpness", "brightness")
        )
        low = (limits.min_face_size, limits.min_sharpness, limits.min_brightness) if limits else (0.0, 0.0, 0.0)
        notes = [
            _note(_("Width of the faces"), f"{size:.0f} px", size, low[0], _SIZE),
            _note(_("Sharpness"), f"{sharpness:.0f}", sharpness, low[1], _SHARPNESS),
            _note(_("Light on the faces"), f"{brightness / 2.55:.0f} %", brightness, low[2], _LIGHT),
        ]
    bits = _bits_per_pixel(payload["media"])
    if bits is not None:
        words = _("The lower, the more was thrown away when the file was saved, and with it traces of manipulation.")
        notes.append(Note(_("Compression"), _("%(bits)s bits per pixel") % {"bits": figures.decimals(bits)}, "", words))
    return notes


# What "poor" and "fair" mean for each; poor is what the detector does not judge by, fair is less than twice that.
Words = tuple[Promise, Promise, Promise]
_SIZE: Words = (
    gettext_lazy("Too small to judge by."),
    gettext_lazy("Small: fine traces are lost."),
    gettext_lazy("Large enough."),
)
_SHARPNESS: Words = (
    gettext_lazy("Too blurred to judge by."),
    gettext_lazy("Soft: fine traces are lost."),
    gettext_lazy("Sharp enough."),
)
_LIGHT: Words = (gettext_lazy("Too dark to judge by."), gettext_lazy("Rather dark."), gettext_lazy("Bright enough."))


def _note(name: str, value: str, measured: float, limit: float, words: Words) -> Note:
    if not limit:
        return Note(name, value, "", "")
    place = 0 if measured < limit else 1 if measured < 2 * limit else 2
    return Note(name, value, ("poor", "fair", "good")[place], str(words[place]))


def _bits_per_pixel(media: Json) -> float | None:
    """Of a video per frame, sound included: it is small beside the picture."""
    if not (media["width"] and media["height"]):
        return None
    frames = 1.0
    if media["kind"] == "video":
        if not (media["duration"] and media["fps"]):
            return None
        frames = max(1.0, media["duration"] * media["fps"])
    return float(8 * media["size"] / (media["width"] * media["height"] * frames))
