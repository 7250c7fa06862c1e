"""Shared vocabulary of the engine: plain, immutable data that goes in and comes out.

Conventions, said once and valid everywhere in Veriframe:

* times are seconds as ``float``, measured from the start of the media;
* pixels are ``int``, in the coordinates of the *displayed* picture, that is after rotation
  metadata (video) or EXIF orientation (image) was applied;
* pictures are RGB ``uint8`` arrays of shape ``(height, width, 3)``;
* a *score* is a calibrated probability of manipulation, 0 (real) to 1 (manipulated); a *logit* is
  what the network said before calibration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

RGBImage = NDArray[np.uint8]  # (height, width, 3), RGB order
FloatArray = NDArray[np.float32]


class MediaKind(StrEnum):
    VIDEO = "video"
    IMAGE = "image"


class Mode(StrEnum):
    """How closely a video is looked at; see :func:`detection.engine.sampling.frames_wanted`. Pictures have but one."""

    STANDARD = "standard"
    THOROUGH = "thorough"


class Verdict(StrEnum):
    """What an analysis concluded. ``AUTHENTIC`` means "no signs of manipulation found"."""

    AUTHENTIC = "authentic"
    SUSPICIOUS = "suspicious"
    MANIPULATED = "manipulated"
    INCONCLUSIVE = "inconclusive"


class ReasonCode(StrEnum):
    """Why a verdict is inconclusive."""

    NO_FACE = "no_face"
    FACE_TOO_SMALL = "face_too_small"
    TOO_BLURRY = "too_blurry"
    TOO_COMPRESSED = "too_compressed"
    TOO_SHORT = "too_short"
    TOO_DARK = "too_dark"
    FEW_FRAMES = "few_frames"
    HEADS_DISAGREE = "heads_disagree"


class Stage(StrEnum):
    """Where a running analysis is; the order is the order of work."""

    PROBING = "probing"
    SCORING = "scoring"  # read a frame, find its faces, score them: one pass
    EXPLAINING = "explaining"
    STORING = "storing"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the displayed picture; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def area(self) -> int:
        return max(0, self.width) * max(0, self.height)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        overlap = Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )
        if overlap.width <= 0 or overlap.height <= 0:
            return 0.0
        return overlap.area / (self.area + other.area - overlap.area)

    def as_dict(self) -> dict[str, int]:
        return {"left": self.left, "top": self.top, "right": self.right, "bottom": self.bottom}


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the header says about a file. ``None`` means that the header does not say."""

    kind: MediaKind
    mime: str
    width: int  # as displayed
    height: int
    codec: str
    duration: float | None = None  # seconds; None for an image
    fps: float | None = None  # average; for display only, times come from the stream
    frame_count: int | None = None  # estimate
    rotation: int = 0  # degrees that were applied clockwise: 0, 90, 180, 270


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture. ``index`` is its number in the stream, estimated for seeks."""

    index: int
    time: float
    image: RGBImage


@dataclass(frozen=True, slots=True)
class Face:
    """A face that a face detector found in one picture.

    ``landmarks`` has shape (4, 2), float32 pixels (x, y): the person's right eye, left eye,
    nose tip, mouth centre. Four points that both BlazeFace and YuNet give.
    """

    box: Box
    landmarks: FloatArray
    confidence: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a face can be judged, measured on the crop that the network sees."""

    face_size: float  # pixels: width of the face in the original picture
    sharpness: float  # variance of the Laplacian of the luma at network input size
    brightness: float  # mean luma, 0..255
    detail: float  # fraction 0..1 of the crop that lies inside the picture
    blockiness: float = 1.0  # steps at the borders of 8 x 8 blocks over those inside them; 1: no blocks to be seen


@dataclass(frozen=True, slots=True)
class FaceScore:
    """One face in one frame, scored.

    ``evidence`` has shape (h, w), float32: the network's own map whose mean is ``logit``;
    positive cells argue for manipulation; None where a network has none. ``crop`` is the picture that the network saw,
    ``crop_box`` where it lies in the frame (it may reach over the picture's edge). Of most faces of a thorough run
    neither map nor crop is kept; see :mod:`detection.engine.album`.
    """

    track: int
    index: int
    time: float
    box: Box
    crop_box: Box
    confidence: float
    quality: Quality
    logit: float
    score: float
    flagged: bool
    evidence: FloatArray | None = field(repr=False)
    crop: RGBImage | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time, seconds, in which a track's score stays over the threshold."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Reason:
    code: ReasonCode
    message: str


@dataclass(frozen=True, slots=True)
class TrackResult:
    """One person followed through the media. ``scores`` are in order of time."""

    id: int
    score: float | None  # None: nothing in this track could be judged
    verdict: Verdict
    reasons: tuple[Reason, ...]
    segments: tuple[Segment, ...]
    scores: tuple[FaceScore, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model judged. ``threshold`` is the operating point for ``manipulated``."""

    name: str
    version: str
    sha256: str
    threshold: float
    suspicious_threshold: float


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """Everything that the engine has to say about one file."""

    media: MediaInfo
    verdict: Verdict
    score: float | None  # None when nothing could be judged
    reasons: tuple[Reason, ...]
    tracks: tuple[TrackResult, ...]
    total_frames: int  # frames that were read and searched for faces
    deepfake_frames: int  # of these, frames with at least one flagged face
    model: ModelInfo
    timings: dict[str, float]  # stage -> seconds

    @property
    def deepfake_ratio(self) -> float:
        return self.deepfake_frames / self.total_frames if self.total_frames else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Work done so far, counted in frames really read."""

    stage: Stage
    frames_done: int
    frames_total: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores that have just become known: ``(time, score)`` pairs."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing new: a picture takes its time to be decoded. Told so that a listener can say "alive", or stop it."""


Event = Progress | Scored | Waiting
