"""What the server answers, as dataclasses. Times in seconds, boxes in pixels of the original, scores 0 real to 1 fake.

Keys that a newer server adds are left in ``raw``; keys that an older one lacks are None or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an analysis failed, or why it has no verdict: a stable code and a sentence."""

    code: str
    message: str

    @classmethod
    def of(cls, data: Json) -> Fault:
        return cls(data["code"], data["message"])


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an analysis is. Also what the WebSocket tells."""

    status: str
    stage: str
    percent: int
    frames_done: int
    frames_total: int
    eta_seconds: float | None

    @classmethod
    def of(cls, status: str, data: Json) -> Progress:
        return cls(
            status,
            data.get("stage") or "",
            data.get("percent") or 0,
            data.get("frames_done") or 0,
            data.get("frames_total") or 0,
            data.get("eta_seconds"),
        )

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Submitted:
    """What an upload is answered with."""

    id: str
    status: str
    page_url: str
    reused: bool  # the same model has seen the same bytes before: this is what it found then

    @classmethod
    def of(cls, data: Json) -> Submitted:
        return cls(data["id"], data["status"], data.get("page_url") or "", bool(data.get("reused")))


@dataclass(frozen=True, slots=True)
class Media:
    name: str
    kind: str
    sha256: str
    width: int | None
    height: int | None
    duration: float | None

    @classmethod
    def of(cls, data: Json) -> Media:
        fields = ("name", "kind", "sha256", "width", "height", "duration")
        return cls(*(data.get(field) for field in fields))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Segment:
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Track:
    """One person."""

    id: int
    verdict: str
    score: float | None
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, data: Json) -> Track:
        segments = tuple(Segment(s["start"], s["end"]) for s in data.get("segments", ()))
        return cls(data["id"], data["verdict"], data["score"], segments)


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame. ``box`` is left, top, right, bottom."""

    track: int
    box: tuple[int, int, int, int]
    score: float
    flagged: bool

    @classmethod
    def of(cls, data: Json) -> Face:
        box = data["box"]
        return cls(
            data["track"], (box["left"], box["top"], box["right"], box["bottom"]), data["score"], data["flagged"]
        )


@dataclass(frozen=True, slots=True)
class Frame:
    time: float
    index: int
    faces: tuple[Face, ...]

    @classmethod
    def of(cls, data: Json) -> Frame:
        return cls(data["time"], data["index"], tuple(Face.of(face) for face in data["faces"]))


@dataclass(frozen=True, slots=True)
class Result:
    """What was found. ``verdict`` is authentic, suspicious, manipulated or inconclusive; only the last has reasons."""

    verdict: str
    score: float | None
    threshold: float | None
    reasons: tuple[Fault, ...]
    tracks: tuple[Track, ...]
    frames: tuple[Frame, ...]
    total_frames: int
    deepfake_frames: int
    model: str

    @classmethod
    def of(cls, data: Json) -> Result:
        model = data.get("model") or {}
        return cls(
            verdict=data["verdict"],
            score=data["score"],
            threshold=data.get("threshold"),
            reasons=tuple(Fault.of(reason) for reason in data.get("reasons", ())),
            tracks=tuple(Track.of(track) for track in data.get("tracks", ())),
            frames=tuple(Frame.of(frame) for frame in data.get("frames", ())),
            total_frames=data.get("total_frames") or 0,
            deepfake_frames=data.get("deepfake_frames") or 0,
            model=" ".join(str(model.get(key) or "")[:12] for key in ("name", "version", "sha256")),
        )


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysis as it stands. ``raw`` is the server's answer, whole."""

    id: str
    status: str
    mode: str
    progress: Progress
    media: Media
    error: Fault | None
    result: Result | None
    raw: Json

    @classmethod
    def of(cls, data: Json) -> Analysis:
        return cls(
            id=data["id"],
            status=data["status"],
            mode=data.get("mode") or "",
            progress=Progress.of(data["status"], data.get("progress") or {}),
            media=Media.of(data.get("media") or {}),
            error=Fault.of(data["error"]) if data.get("error") else None,
            result=Result.of(data["result"]) if data.get("result") else None,
            raw=data,
        )

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED
