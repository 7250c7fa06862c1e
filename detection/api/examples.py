"""Examples for the API's description, by the serializer that describes them; a test holds the two together."""

from __future__ import annotations

from typing import Any

ANALYSIS_ID = "3f0d0f0e-6a43-4c38-9b8e-0a6f6f0c7a11"
SITE = "https://veriframe.example"
FILE = f"/media/{ANALYSIS_ID}"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
MODEL = {"name": "mobilenetv2-160", "version": "1", "sha256": "e2e2dc6cd582".ljust(64, "0")}
BOX = {"left": 212, "top": 96, "right": 340, "bottom": 262}

SUBMITTED: dict[str, Any] = {
    "id": ANALYSIS_ID,
    "external_id": "ticket-4711",
    "status": "queued",
    "mode": "standard",
    "waits_for": "worker",
    "sha256": SHA256,
    "eta_seconds": 4.2,
    "reused": False,
    "poll_url": f"{SITE}/api/v1/analyses/{ANALYSIS_ID}/",
    "ws_url": f"wss://veriframe.example/ws/analyses/{ANALYSIS_ID}/",
    "page_url": f"{SITE}/analyses/{ANALYSIS_ID}/",
}
OUTCOME = {
    "verdict": "manipulated",
    "model_verdict": "manipulated",
    "score": 0.98,
    "threshold": 0.97,
    "suspicious_threshold": 0.9,
    "reasons": [],
    "model": MODEL,
    "total_frames": 32,
    "deepfake_frames": 24,
    "deepfake_ratio": 0.75,
    "timings": {"total": 3.1},
}
FACE = {
    "track": 0,
    "box": BOX,
    "crop_box": {"left": 180, "top": 60, "right": 372, "bottom": 292},
    "score": 0.991,
    "flagged": True,
    "confidence": 0.97,
    "quality": {"face_size": 128.0, "sharpness": 61.2, "brightness": 118.4, "detail": 1.02},
    "crop_url": f"{FILE}/faces/0.jpg",
    "heatmap_url": f"{FILE}/heatmaps/0.png",
}
DETAILS = {
    "tracks": [
        {
            "id": 0,
            "score": 0.98,
            "verdict": "manipulated",
            "reasons": [],
            "segments": [{"start": 2.5, "end": 6.0}],
            "thumbnail_url": f"{FILE}/tracks/0.jpg",
        }
    ],
    "frames": [{"time": 2.52, "index": 63, "faces": [FACE]}],
    "findings": [],
}
SUMMARY: dict[str, Any] = {
    "id": ANALYSIS_ID,
    "external_id": "ticket-4711",
    "status": "succeeded",
    "mode": "standard",
    "waits_for": None,
    "created_at": "2026-11-21T08:30:00+00:00",
    "started_at": "2026-11-21T08:30:01+00:00",
    "finished_at": "2026-11-21T08:30:04+00:00",
    "progress": {"stage": "storing", "percent": 100, "frames_done": 32, "frames_total": 32, "eta_seconds": None},
    "media": {
        "kind": "video",
        "mime": "video/mp4",
        "sha256": SHA256,
        "size": 1_482_113,
        "width": 640,
        "height": 360,
        "duration": 8.0,
        "fps": 25.0,
        "name": "interview.mp4",
        "url": f"{FILE}/source",
        "retain_seconds": 3600,
        "expires_at": "2026-11-21T09:30:04+00:00",
        "held_until": None,
        "deleted_at": None,
        "deleted_reason": None,
    },
    "pictures": {"expires_at": "2026-12-21T08:30:04+00:00", "deleted_at": None},
    "expires_at": "2027-11-21T08:30:04+00:00",
    "consent": False,
    "error": None,
    "review": {
        "verdict": "manipulated",
        "decision": "confirmed",
        "role": "reviewer",
        "at": "2026-11-21T10:02:51+00:00",
    },
    "result": OUTCOME,
}
DELETION = {
    "id": "b7c3f2d4-52c5-4f0c-9a55-6d2b1d0b7f10",
    "what": "file",
    "reason": "expired",
    "sha256": SHA256,
    "size": 1_482_113,
    "upload_id": "5b0f9c7e-2a37-4d6b-8a53-1f4a2c9d7e66",
    "analysis_id": None,
    "deleted_at": "2026-11-21T09:30:22+00:00",
}
ANALYSIS = {**SUMMARY, "result": {**OUTCOME, **DETAILS}, "dispute": None}

EXAMPLES: dict[str, dict[str, Any]] = {
    "SubmittedSerializer": SUBMITTED,
    "AnalysisSerializer": ANALYSIS,
    "AnalysisAnswerSerializer": {**SUBMITTED, **ANALYSIS, "eta_seconds": None},
    "PageSerializer": {"next": f"{SITE}/api/v1/analyses/?cursor=cD0yMDI2", "previous": None, "results": [SUMMARY]},
    "UsageSerializer": {
        "today": {"analyses": 12, "limit": 500, "remaining": 488, "resets_at": "2026-11-22T00:00:00+00:00"},
        "limits": {"uploads": "5/m", "requests": "1200/m"},
        "stored": {
            "files": 7,
            "bytes": 10_374_791,
            "limit": 2_147_483_648,
            "remaining": 2_137_108_857,
            "retain_seconds": 3600,
        },
        "analyses": {"total": 7, "by_status": {"succeeded": 7}, "by_verdict": {"manipulated": 1, "authentic": 6}},
    },
    "DeletionPageSerializer": {"next": None, "previous": None, "results": [DELETION]},
    "TokenRequestSerializer": {"name": "nightly job", "expires_in_days": 90},
    "PredictionSerializer": {
        "status": "success",
        "prediction": "Deepfake",
        "confidence": 0.98,
        "deepfake_ratio": 0.75,
        "total_frames": 32,
        "deepfake_frames": 24,
        "frames": [f"{SITE}{FILE}/faces/0.jpg"],
        "anomalies": ["Person 1: Strong signs of manipulation (score 0.98)"],
        "id": ANALYSIS_ID,
        "verdict": "manipulated",
        "score": 0.98,
        "poll_url": f"{SITE}/predict/{ANALYSIS_ID}/",
    },
    "ProcessingSerializer": {
        "status": "processing",
        "id": ANALYSIS_ID,
        "poll_url": f"{SITE}/predict/{ANALYSIS_ID}/",
    },
    "HealthSerializer": {"status": "ok", "version": "0.1.0"},
    "ReadySerializer": {"status": "ready", "checks": {"database": "ok", "broker": "ok", "model": "ok"}},
}
