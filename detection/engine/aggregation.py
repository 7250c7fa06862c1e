"""From scored faces to a verdict: per face, per track, per file.

Logits are averaged, not scores (averaging frames is worth 3 to 7 points of AUC in published results, and the
mean logit beats the mean probability); the file is as bad as its worst credible track.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from detection.engine.errors import gettext_noop
from detection.engine.registry import ModelSpec, OperatingPoint, QualityLimits
from detection.engine.types import (
    FaceScore,
    MediaInfo,
    MediaKind,
    Quality,
    Reason,
    ReasonCode,
    Segment,
    TrackResult,
    Verdict,
)

MESSAGES = {
    ReasonCode.NO_FACE: gettext_noop("No face was found. Veriframe judges faces only."),
    ReasonCode.FACE_TOO_SMALL: gettext_noop(
        "The face is too small to be judged. A larger or closer version would help."
    ),
    ReasonCode.TOO_BLURRY: gettext_noop(
        "The face is too blurred to be judged. Look for a sharper version of the file."
    ),
    ReasonCode.TOO_DARK: gettext_noop("The face is too dark to be judged."),
    ReasonCode.TOO_SHORT: gettext_noop(
        "The video is too short: a single frame says too little. Upload a longer piece."
    ),
    ReasonCode.FEW_FRAMES: gettext_noop("The face could be judged in too few frames. A longer piece would help."),
    ReasonCode.TOO_COMPRESSED: gettext_noop("The picture is too strongly compressed. Look for the original file."),
    ReasonCode.HEADS_DISAGREE: gettext_noop("The parts of the detector contradict each other."),
}
SEVERITY = (Verdict.INCONCLUSIVE, Verdict.AUTHENTIC, Verdict.SUSPICIOUS, Verdict.MANIPULATED)
# What of one track, in a row, is enough for an alarm by itself: a quarter of its frames, and eight at least, which is a
# quarter of the usual sample. A share and no number: of more frames there are more stretches of eight, and the worst of
# them is the worse for it.
STRETCH_SHARE = 1 / 4
STRETCH = 8
# What half of the frames must say for the other half to be left out; see `is_settled`. Faces that could be judged, and
# the mean's distance from the lower threshold, in calibrated logits. Measured with `benchmarks.adaptive_sampling`.
SETTLED_FACES = 8
SETTLED_MARGIN = 1.5
STANDARD_ERRORS = 2.0
SHORT_VIDEO = 1.0  # seconds; below this "too short" explains too few frames


def calibrate(logit: float, point: OperatingPoint) -> float:
    """Platt scaling: the probability of manipulation, 0..1, strictly inside so that it can be logged."""
    z = max(-30.0, min(30.0, point.slope * logit + point.intercept))
    return 1.0 / (1.0 + math.exp(-z))


def verdict_of(score: float, point: OperatingPoint) -> Verdict:
    if score >= point.manipulated:
        return Verdict.MANIPULATED
    return Verdict.SUSPICIOUS if score >= point.suspicious else Verdict.AUTHENTIC


def reason(code: ReasonCode) -> Reason:
    return Reason(code, MESSAGES[code])


def unusable_because(quality: Quality, limits: QualityLimits, kind: MediaKind) -> ReasonCode | None:
    """Why a face cannot be judged, or ``None`` when it can. Size first: it explains blur, too, as compression does."""
    if quality.face_size < limits.min_face_size or quality.detail < limits.min_detail:
        return ReasonCode.FACE_TOO_SMALL
    if quality.brightness < limits.min_brightness:
        return ReasonCode.TOO_DARK
    if quality.blockiness > limits.max_blockiness(kind):
        return ReasonCode.TOO_COMPRESSED
    return ReasonCode.TOO_BLURRY if quality.sharpness < limits.min_sharpness else None


def weight(quality: Quality) -> float:
    """How much a face counts in its track: large faces that lie wholly inside the picture count most."""
    return min(1.0, quality.face_size / 112) * quality.detail**2


def mean_logit(scores: Sequence[FaceScore]) -> float:
    """Quality-weighted mean of the logits of at least one score."""
    weights = [weight(s.quality) for s in scores]
    return float(np.average([s.logit for s in scores], weights=weights))


def track_logit(usable: Sequence[FaceScore], point: OperatingPoint) -> float:
    """The logit of a whole track: its mean, or its worst stretch where that alone reaches the alarm.

    A face that was exchanged for a few seconds drowns in the mean of a long video. Below the alarm the stretch
    is not looked at: the worst part of a genuine video is always worse than its mean.
    """
    mean = mean_logit(usable)
    weights, logits = np.array([weight(s.quality) for s in usable]), np.array([s.logit for s in usable])
    length = max(STRETCH, math.ceil(STRETCH_SHARE * len(usable)))
    stretches = [slice(i, i + length) for i in range(len(usable) - length + 1)]
    worst = max((float(np.average(logits[s], weights=weights[s])) for s in stretches), default=mean)
    return max(mean, worst) if calibrate(worst, point) >= point.manipulated else mean


def segments_of(scores: Sequence[FaceScore]) -> tuple[Segment, ...]:
    """Stretches of flagged neighbours, each reaching half-way to the next frame that was looked at."""
    segments: list[Segment] = []
    times = [s.time for s in scores]
    start: float | None = None
    for i, score in enumerate(scores):
        if score.flagged and start is None:
            start = times[i] if i == 0 else (times[i - 1] + times[i]) / 2
        last = i + 1 == len(scores)
        if score.flagged and start is not None and (last or not scores[i + 1].flagged):
            segments.append(Segment(start, times[i] if last else (times[i] + times[i + 1]) / 2))
            start = None
    return tuple(segments)


def judge_track(track: int, scores: Sequence[FaceScore], media: MediaInfo, spec: ModelSpec) -> TrackResult:
    """Judge one person. ``scores`` are that track's, in order of time, at least one."""
    problems = [unusable_because(s.quality, spec.quality, media.kind) for s in scores]
    usable = [s for s, problem in zip(scores, problems, strict=True) if problem is None]
    needed = 1 if media.kind is MediaKind.IMAGE else spec.quality.min_frames
    # Strong compression is the whole file's: the few frames that show less of it have lost no less.
    compressed = 2 * problems.count(ReasonCode.TOO_COMPRESSED) > len(problems)
    if len(usable) >= needed and not compressed:
        point = spec.point(media.kind)
        score = calibrate(track_logit(usable, point), point)
        return TrackResult(track, score, verdict_of(score, point), (), segments_of(scores), tuple(scores))
    return TrackResult(
        track, None, Verdict.INCONCLUSIVE, (reason(_why_not(problems, usable, media)),), (), tuple(scores)
    )


def _why_not(problems: Sequence[ReasonCode | None], usable: Sequence[FaceScore], media: MediaInfo) -> ReasonCode:
    causes = Counter(problem for problem in problems if problem is not None)
    if causes and sum(causes.values()) > len(usable):
        return causes.most_common(1)[0][0]
    if media.duration is not None and media.duration < SHORT_VIDEO:
        return ReasonCode.TOO_SHORT
    return ReasonCode.FEW_FRAMES


def rises(score: FaceScore, spec: ModelSpec, kind: MediaKind) -> bool:
    """Whether a face, of which more frames are at hand, is worth a closer look."""
    return unusable_because(score.quality, spec.quality, kind) is None and score.score >= spec.point(kind).suspicious


def is_settled(tracks: Sequence[TrackResult], spec: ModelSpec, kind: MediaKind) -> bool:
    """Whether more frames would hardly change what some of them, evenly spread, say of a file.

    So it is where everybody could be judged, by enough faces, of which none alone :func:`rises`, and where the mean
    lies so far below the lower threshold that their spread cannot have hidden it on the other side. All that is not
    clear needs the others: short tracks, poor pictures, nobody at all.
    """
    return bool(tracks) and all(_is_clearly_authentic(track, spec, kind) for track in tracks)


def _is_clearly_authentic(track: TrackResult, spec: ModelSpec, kind: MediaKind) -> bool:
    usable = [s for s in track.scores if unusable_because(s.quality, spec.quality, kind) is None]
    if track.score is None or len(usable) < SETTLED_FACES or any(rises(s, spec, kind) for s in usable):
        return False
    point = spec.point(kind)
    error = point.slope * float(np.std([s.logit for s in usable], ddof=1)) / math.sqrt(len(usable))
    highest = _logit(track.score) + STANDARD_ERRORS * error
    return highest <= _logit(point.suspicious) - SETTLED_MARGIN


def _logit(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability)


def judge_file(
    tracks: Sequence[TrackResult],
) -> tuple[Verdict, float | None, tuple[Reason, ...]]:
    """The worst credible track speaks for the file; without one the longest track says why not."""
    if not tracks:
        return Verdict.INCONCLUSIVE, None, (reason(ReasonCode.NO_FACE),)
    credible = [track for track in tracks if track.score is not None]
    if not credible:
        longest = max(tracks, key=lambda track: len(track.scores))
        return Verdict.INCONCLUSIVE, None, longest.reasons
    worst = max(credible, key=lambda track: (SEVERITY.index(track.verdict), track.score or 0.0))
    return worst.verdict, worst.score, ()
