"""Rows for tests, made the way the product makes them where that is cheap."""

from __future__ import annotations

import io
from itertools import count
from typing import Any

from allauth.account.models import EmailAddress
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from accounts.models import User
from detection.models import Analysis, FaceScore, FaceTrack, Upload

PASSWORD = "a quiet river 7"
_numbers = count(1)


def make_user(email: str = "", **fields: Any) -> User:
    return User.objects.create_user(email or f"user{next(_numbers)}@example.org", PASSWORD, **fields)


def confirm_address(user: User) -> None:
    """As a user does who opens the link."""
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})


def jpeg(size: tuple[int, int] = (64, 48), colour: str = "grey") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def uploaded(name: str = "face.jpg", content: bytes | None = None) -> SimpleUploadedFile:
    """A file as it comes out of a form."""
    return SimpleUploadedFile(name, jpeg() if content is None else content)


def make_upload(user: User | None = None, **fields: Any) -> Upload:
    values = {"name": "face.jpg", "kind": "image", "mime": "image/jpeg", "width": 64, "height": 48, **fields}
    content = jpeg()
    upload = Upload(user=user or make_user(), size=len(content), sha256="ab" * 32, **values)
    upload.file.save("source.jpg", ContentFile(content), save=False)
    upload.save(force_insert=True)
    return upload


def make_analysis(user: User | None = None, **fields: Any) -> Analysis:
    return Analysis.objects.create(upload=fields.pop("upload", None) or make_upload(user), **fields)


def make_result(user: User | None = None, *, tracks: int = 2, frames: int = 3) -> Analysis:
    """A succeeded analysis with faces in rows, without their pictures."""
    analysis = make_analysis(
        user,
        status=Analysis.Status.SUCCEEDED,
        verdict="manipulated",
        score=0.91,
        threshold=0.8,
        suspicious_threshold=0.6,
        total_frames=frames,
        deepfake_frames=1,
        frames_done=frames,
        frames_total=frames,
        model_name="test",
        model_version="1",
        model_sha256="0" * 64,
    )
    number = count()
    for track_number in range(tracks):
        track = FaceTrack.objects.create(analysis=analysis, number=track_number, score=0.5, verdict="suspicious")
        FaceScore.objects.bulk_create(
            FaceScore(
                track=track,
                number=next(number),
                frame_index=10 * frame,
                time=0.4 * frame,
                box={"left": 1, "top": 2, "right": 30, "bottom": 40},
                crop_box={"left": -5, "top": 0, "right": 36, "bottom": 41},
                confidence=0.9,
                score=0.5,
                logit=0.0,
                flagged=frame == 0,
                face_size=29.0,
                sharpness=50.0,
                brightness=120.0,
                detail=1.0,
                has_pictures=True,
            )
            for frame in range(frames)
        )
    return analysis
