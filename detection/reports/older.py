"""Stored rows in the words of the five older servers: the union of their answers, and a little more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from detection import open_access
from detection.engine.types import Verdict
from detection.models import Analysis, FaceScore
from detection.reports import file_url
from detection.reports.words import human_sentence, verdict_word

Json = dict[str, Any]
Absolute = Callable[[str], str]

MOST_FRAMES = 24  # pictures that an answer points to, the most suspicious ones
# Where we saw signs the older servers' word is "Deepfake"; how strong they are says `confidence`. Where one cannot
# tell, neither of their two words would be true.
PREDICTIONS = {
    Verdict.AUTHENTIC: "Real",
    Verdict.SUSPICIOUS: "Deepfake",
    Verdict.MANIPULATED: "Deepfake",
    Verdict.INCONCLUSIVE: "Inconclusive",
}


def prediction(analysis: Analysis, absolute: Absolute, *, fake: str = "Deepfake") -> Json:
    """What ``POST /predict`` answers about a finished analysis. ``fake`` is the word for manipulated."""
    word = PREDICTIONS[Verdict(analysis.final_verdict)]
    total = analysis.total_frames
    return {
        "status": "success",
        "prediction": fake if word == "Deepfake" else word,
        # How sure people are is no figure of ours.
        "confidence": None if analysis.reviewed_verdict else _confidence(word, analysis.score),
        "deepfake_ratio": analysis.deepfake_frames / total if total else 0.0,
        "total_frames": total,
        "deepfake_frames": analysis.deepfake_frames,
        "frames": [absolute(_signed(analysis, url)) for url in _pictures(analysis)],
        "anomalies": _anomalies(analysis),
        "id": str(analysis.pk),
        "verdict": analysis.final_verdict,
        "score": analysis.score,
        "poll_url": absolute(_signed(analysis, reverse("predict-result", args=[analysis.pk]))),
    }


def processing(analysis: Analysis, absolute: Absolute) -> Json:
    """What it answers when the wait was not long enough."""
    return {
        "status": "processing",
        "id": str(analysis.pk),
        "poll_url": absolute(_signed(analysis, reverse("predict-result", args=[analysis.pk]))),
    }


def _confidence(word: str, score: float | None) -> float | None:
    """How probable the given word is, 0 to 1: the score is the calibrated probability of manipulation."""
    if score is None or word == "Inconclusive":
        return None
    return round(score if word == "Deepfake" else 1 - score, 4)


def _pictures(analysis: Analysis) -> list[str]:
    """Addresses of the faces that were cut out of the frames, in order of time."""
    scores = FaceScore.objects.filter(track__analysis=analysis, has_pictures=True).order_by("-score", "time")
    worst = sorted(scores[:MOST_FRAMES], key=lambda score: (score.time, score.number))
    return [file_url(analysis, f"faces/{score.number}.jpg") for score in worst]


def _anomalies(analysis: Analysis) -> list[str]:
    """What speaks for manipulation, or why nothing can be said, one sentence each."""
    if analysis.reviewed_verdict:
        return [human_sentence(analysis.reviewed_verdict)]
    if analysis.verdict == Verdict.INCONCLUSIVE:
        return [str(reason["message"]) for reason in analysis.reasons]
    found = analysis.tracks.filter(verdict__in=[Verdict.SUSPICIOUS, Verdict.MANIPULATED])
    return [
        _("Person %(number)d: %(verdict)s (score %(score).2f)")
        % {"number": track.number + 1, "verdict": verdict_word(track.verdict), "score": track.score or 0.0}
        for track in found
    ]


def _signed(analysis: Analysis, url: str) -> str:
    """For somebody without an account the address itself must open the door, for an hour."""
    if not open_access.is_open(analysis):
        return url
    return f"{url}?{urlencode({'key': open_access.key_of(analysis)})}"
