"""Stored rows as the JSON that pages, API and clients read. Nothing is computed anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from django.conf import settings
from django.urls import reverse

from detection import retention, selectors, storage
from detection.models import Analysis, FaceScore, FaceTrack
from detection.reports import lifetimes, reviews, words

Json = dict[str, Any]


def analysis_payload(analysis: Analysis) -> Json:
    """One analysis as the API answers it, in at most three queries besides the analysis and its upload.

    Paths are relative to the site; ``result`` is None unless the analysis succeeded.
    """
    payload = analysis_summary(analysis)
    if payload["result"] is not None:
        payload["result"] |= _details(analysis)
    payload["dispute"] = reviews.dispute_payload(analysis)
    return payload


def analysis_summary(analysis: Analysis) -> Json:
    """The same without faces, for lists: no query besides the analysis and its upload."""
    upload = analysis.upload
    return {
        "id": str(analysis.pk),
        "external_id": analysis.external_id,
        "status": analysis.status,
        "mode": analysis.mode,
        "waits_for": analysis.waits_for or None,
        "created_at": analysis.created_at.isoformat(),
        "started_at": analysis.started_at and analysis.started_at.isoformat(),
        "finished_at": analysis.finished_at and analysis.finished_at.isoformat(),
        "progress": {
            "stage": analysis.stage,
            "percent": analysis.percent,
            "frames_done": analysis.frames_done,
            "frames_total": analysis.frames_total,
            "eta_seconds": analysis.eta_seconds,
        },
        "media": _media(analysis),
        "pictures": {
            "expires_at": lifetimes.written(analysis.pictures_expire_at),
            "deleted_at": lifetimes.written(analysis.pictures_deleted_at),
        },
        "expires_at": lifetimes.written(analysis.expires_at),
        "consent": upload.consented_at is not None,
        "error": words.error(analysis.error),
        "review": reviews.review_payload(analysis),
        "result": _verdict(analysis) if analysis.status == Analysis.Status.SUCCEEDED else None,
    }


def submitted(analysis: Analysis, absolute: Callable[[str], str], *, reused: bool = False) -> Json:
    """The answer to an upload: where the analysis can be followed. ``absolute`` makes an address of a path.

    ``reused`` says that this is what was found before in the same bytes by the same model.
    """
    poll_url = absolute(reverse("api:analysis-detail", args=[analysis.pk]))
    socket = absolute(f"/ws/analyses/{analysis.pk}/")
    return {
        "id": str(analysis.pk),
        "external_id": analysis.external_id,
        "status": analysis.status,
        "mode": analysis.mode,
        "waits_for": analysis.waits_for or None,
        "sha256": analysis.upload.sha256,
        "eta_seconds": selectors.expected_seconds(analysis.mode) if analysis.is_active else None,
        "reused": reused,
        "poll_url": poll_url,
        "ws_url": "ws" + socket.removeprefix("http"),  # https becomes wss
        "page_url": absolute(analysis.get_absolute_url()),
    }


def report_json(analysis: Analysis) -> Json:
    """The report for machines: everything that is stored about an analysis, and what it is worth."""
    return {
        "format": "veriframe-report/1",
        "software": {"name": "Veriframe", "version": settings.VERSION},
        "statement": words.statement(analysis),
        "notice": str(words.DISCLAIMER),
        "analysis": analysis_payload(analysis),
    }


def report_name(analysis: Analysis, extension: str) -> str:
    """What the report's file is called when it is saved."""
    return f"veriframe-{PurePath(analysis.upload.name).stem[:80]}-{str(analysis.pk)[:8]}.{extension}"


def stored_picture(analysis: Analysis, url: str | None) -> Path | bytes | None:
    """What is behind a picture's address in the payload; None if there is nothing, or if it is gone."""
    if url is None:
        return None
    start = file_url(analysis, "source").removesuffix("source")
    picture = storage.store().picture(analysis, url.removeprefix(start))
    if isinstance(picture, Path):
        return picture if picture.is_file() else None
    try:
        return picture.read_bytes()
    except FileNotFoundError:
        return None


def file_url(analysis: Analysis, name: str) -> str:
    return reverse("detection:file", args=[analysis.pk, name])


def _media(analysis: Analysis) -> Json:
    """The file that was sent, and until when it is there."""
    upload = analysis.upload
    return {
        "kind": upload.kind,
        "mime": upload.mime,
        "sha256": upload.sha256,
        "size": upload.size,
        "width": upload.width,
        "height": upload.height,
        "duration": upload.duration,
        "fps": upload.fps,
        "name": upload.name,
        "url": None if upload.media_deleted_at else file_url(analysis, "source"),
        "retain_seconds": retention.kept_for(upload),
        "expires_at": lifetimes.file_due(analysis),
        "held_until": lifetimes.written(upload.media_held_until),
        "deleted_at": lifetimes.written(upload.media_deleted_at),
        "deleted_reason": upload.media_deleted_reason or None,
    }


def _verdict(analysis: Analysis) -> Json:
    total = analysis.total_frames
    return {
        "verdict": analysis.final_verdict,
        "model_verdict": analysis.verdict,
        "score": analysis.score,
        "threshold": analysis.threshold,
        "suspicious_threshold": analysis.suspicious_threshold,
        "reasons": words.reasons(analysis.reasons),
        "model": {
            "name": analysis.model_name,
            "version": analysis.model_version,
            "sha256": analysis.model_sha256,
        },
        "total_frames": total,
        "deepfake_frames": analysis.deepfake_frames,
        "deepfake_ratio": analysis.deepfake_frames / total if total else 0.0,
        "timings": analysis.timings,
    }


def _details(analysis: Analysis) -> Json:
    tracks = list(FaceTrack.objects.filter(analysis=analysis))
    scores = FaceScore.objects.filter(track__analysis=analysis).select_related("track").order_by("time", "number")
    return {
        "tracks": [_track(analysis, track) for track in tracks],
        "frames": _frames(analysis, list(scores)),
        "findings": [],  # the forensic checks are not built yet, so nothing was found by them
    }


def _track(analysis: Analysis, track: FaceTrack) -> Json:
    thumbnail = file_url(analysis, f"tracks/{track.number}.jpg") if track.has_thumbnail else None
    return {
        "id": track.number,
        "score": track.score,
        "verdict": track.verdict,
        "reasons": words.reasons(track.reasons),
        "segments": track.segments,
        "thumbnail_url": thumbnail,
    }


def _frames(analysis: Analysis, scores: list[FaceScore]) -> list[Json]:
    """Faces by frame, in order of time."""
    frames: dict[int, Json] = {}
    for score in scores:
        frame = frames.setdefault(score.frame_index, {"time": score.time, "index": score.frame_index, "faces": []})
        frame["faces"].append(_face(analysis, score))
    return list(frames.values())


def _face(analysis: Analysis, score: FaceScore) -> Json:
    crop = heatmap = None
    if score.has_pictures:
        crop = file_url(analysis, f"faces/{score.number}.jpg")
        if score.has_heatmap:
            heatmap = file_url(analysis, f"heatmaps/{score.number}.png")
    return {"track": score.track.number, **score.as_dict(), "crop_url": crop, "heatmap_url": heatmap}
