"""What is stored: an upload, its analyses, and what each of them found."""

from __future__ import annotations

import uuid
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin
from django.db import models
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.staff import lacks_second_factor
from detection.engine.errors import ErrorCode
from detection.engine.types import MediaKind, Mode, Stage, Verdict
from detection.models.retention import DeletionReason

REVIEW = "detection.review_analysis"  # the permission to judge what is somebody else's

# The engine's vocabulary as the admin shows it; what readers see stands in detection.reports.words.
LABELS: dict[str, Promise] = {
    MediaKind.VIDEO: _("video"),
    MediaKind.IMAGE: _("image"),
    Mode.STANDARD: _("standard"),
    Mode.THOROUGH: _("thorough"),
    Stage.PROBING: _("probing"),
    Stage.SCORING: _("scoring"),
    Stage.EXPLAINING: _("explaining"),
    Stage.STORING: _("storing"),
    Verdict.AUTHENTIC: _("authentic"),
    Verdict.SUSPICIOUS: _("suspicious"),
    Verdict.MANIPULATED: _("manipulated"),
    Verdict.INCONCLUSIVE: _("inconclusive"),
    ErrorCode.UNREADABLE_MEDIA: _("unreadable media"),
    ErrorCode.UNSUPPORTED_CODEC: _("unsupported codec"),
    ErrorCode.MEDIA_TOO_LONG: _("media too long"),
    ErrorCode.TOO_MANY_PIXELS: _("too many pixels"),
    ErrorCode.MODEL_UNAVAILABLE: _("model unavailable"),
    ErrorCode.OUT_OF_MEMORY: _("out of memory"),
    ErrorCode.TIMED_OUT: _("timed out"),
    ErrorCode.DISK_FULL: _("disk full"),
    ErrorCode.INTERNAL_ERROR: _("internal error"),
}


def choices(words: type[MediaKind | Mode | Stage | Verdict | ErrorCode]) -> list[tuple[str, Promise]]:
    """The engine's vocabulary for a CharField."""
    return [(word.value, LABELS[word]) for word in words]


def upload_path(upload: Upload, filename: str) -> str:
    """Never the user's name: it is shown, but no path is made of it."""
    return f"{upload.pk}/source.{filename.rpartition('.')[2]}"


def may_review(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether this is a reviewer (or an administrator): staff with the permission that the group has, and with a second
    factor where the site asks for one."""
    may = isinstance(user, PermissionsMixin) and bool(getattr(user, "is_staff", False)) and user.has_perm(REVIEW)
    return may and not lacks_second_factor(user)


class UploadQuerySet(models.QuerySet["Upload"]):
    """Reads of uploads."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> UploadQuerySet:
        """Only what this user may see: one's own."""
        return self.filter(user_id=user.pk) if user.is_authenticated else self.none()


class Upload(models.Model):
    """A file that a user sent. Its folder ``<media root>/<id>/`` holds it and everything derived from it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads", verbose_name=_("user")
    )
    file = models.FileField(_("file"), upload_to=upload_path, max_length=100)
    name = models.CharField(_("name"), max_length=200)  # as sent, cleaned; for people only
    kind = models.CharField(_("kind"), max_length=10, choices=choices(MediaKind))
    mime = models.CharField(_("content type"), max_length=50)  # by content
    size = models.PositiveBigIntegerField(_("size in bytes"))  # bytes
    sha256 = models.CharField(_("SHA-256"), max_length=64, db_index=True)
    # As displayed. Known from the header of a picture, and after the first analysis of a video.
    width = models.PositiveIntegerField(_("width"), null=True)
    height = models.PositiveIntegerField(_("height"), null=True)
    duration = models.FloatField(_("duration in seconds"), null=True)  # seconds
    fps = models.FloatField(_("frames per second"), null=True)
    created_at = models.DateTimeField(_("sent"), auto_now_add=True)

    # When its user allowed that it is used to improve the detector; None: never, or not any more.
    consented_at = models.DateTimeField(_("may be used for training since"), null=True)

    # How long the file itself lives; see detection.retention. The row outlives it.
    keep_seconds = models.PositiveIntegerField(_("kept for seconds"), null=True)  # after the result; None: the site's
    media_expires_at = models.DateTimeField(_("file expires"), null=True)  # None until the first analysis has ended
    media_held_until = models.DateTimeField(_("file held until"), null=True)  # not deleted before, if somebody objected
    media_deleted_at = models.DateTimeField(_("file deleted"), null=True)
    media_deleted_reason = models.CharField(_("why deleted"), max_length=10, choices=DeletionReason, blank=True)

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        indexes = [
            models.Index(
                fields=["media_expires_at"], name="upload_media_due", condition=models.Q(media_deleted_at=None)
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> str:
        """Relative to the media root."""
        return str(self.pk)


class AnalysisQuerySet(models.QuerySet["Analysis"]):
    """Reads of analyses."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> AnalysisQuerySet:
        """Only what this user may see: one's own. Every read for a user goes through here."""
        return self.filter(upload__user_id=user.pk) if user.is_authenticated else self.none()

    def readable_by(self, user: AbstractBaseUser | AnonymousUser) -> AnalysisQuerySet:
        """What this user may see, and for a reviewer what there is to review: it has a result, or it has a case.

        For reviewers' own pages and what these show. Users' pages and the API ask ``visible_to``: there a reviewer is
        a stranger to what is somebody else's.
        """
        if not may_review(user):
            return self.visible_to(user)
        case = apps.get_model("detection", "ReviewCase").objects.filter(analysis=models.OuterRef("pk"), is_current=True)
        own = models.Q(upload__user_id=user.pk)
        return self.filter(own | models.Q(status=Analysis.Status.SUCCEEDED) | models.Exists(case))


class Analysis(models.Model):
    """One run of the engine over one upload.

    Status::

        queued ──claim──> running ──> succeeded
          ^  │               │ ├────> failed
          │  └──> cancelled <┘ │
          └── hand back, retry ┘

    ``queued -> running`` is a conditional UPDATE that writes ``claim_token`` and ``lease_until``; a running row
    whose lease ran out may be claimed anew. Whoever holds the token writes progress by
    ``UPDATE ... WHERE status = 'running' AND claim_token = ...``: no row changed means that the work was cancelled,
    deleted or taken over, and stops it. Status, score and verdict are three things: ``succeeded`` says that there
    is a verdict, not which one.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    ACTIVE = (Status.QUEUED, Status.RUNNING)
    # Since when it waits: since it was sent. A new run, and what was handed back, since the last message for it.
    WAITS_SINCE = models.Case(
        models.When(revision=0, then=models.F("created_at")), default=Coalesce("sent_at", "started_at", "created_at")
    )

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="analyses", verbose_name=_("upload"))
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.QUEUED, db_index=True)
    # Of a video. db_default: a server of the version before, which does not know it, can go on until it is restarted.
    mode = models.CharField(
        _("mode"),
        max_length=10,
        choices=choices(Mode),
        default=Mode.STANDARD.value,
        db_default=Mode.STANDARD.value,
    )

    # Work: who does it, since when, how often it was tried.
    claim_token = models.UUIDField(_("claim token"), null=True, editable=False)
    lease_until = models.DateTimeField(_("lease until"), null=True, editable=False)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0, editable=False)
    # When the broker last took a message for it.
    sent_at = models.DateTimeField(_("message sent"), null=True, editable=False)

    # Progress. ``revision`` grows with every write, so that a reader can tell old news from new.
    revision = models.PositiveIntegerField(_("revision"), default=0, editable=False)
    stage = models.CharField(_("stage"), max_length=10, choices=choices(Stage), blank=True)
    frames_done = models.PositiveIntegerField(_("frames done"), default=0)
    frames_total = models.PositiveIntegerField(_("frames in total"), default=0)
    eta_seconds = models.FloatField(_("seconds left"), null=True)
    points = models.JSONField(_("points"), default=list)  # [[time, score], ...] scored so far

    # What the client that asked for it calls it. Not unique: the same thing may be looked at more than once.
    external_id = models.CharField(max_length=200, blank=True)

    # Asked for with the upload: told when this analysis ends.
    callback_url = models.URLField(max_length=500, blank=True, editable=False)

    # Outcome.
    verdict = models.CharField(_("verdict"), max_length=12, choices=choices(Verdict), blank=True, db_index=True)
    score = models.FloatField(_("score"), null=True)
    threshold = models.FloatField(_("threshold"), null=True)
    suspicious_threshold = models.FloatField(_("lower threshold"), null=True)
    reasons = models.JSONField(_("reasons"), default=list)  # [{"code", "message"}, ...]
    total_frames = models.PositiveIntegerField(_("frames examined"), default=0)
    deepfake_frames = models.PositiveIntegerField(_("frames flagged"), default=0)
    timings = models.JSONField(_("timings"), default=dict)  # stage -> seconds
    model_name = models.CharField(_("model"), max_length=100, blank=True)
    model_version = models.CharField(_("model version"), max_length=50, blank=True)
    model_sha256 = models.CharField(_("SHA-256 of the model"), max_length=64, blank=True)
    error_code = models.CharField(_("error code"), max_length=30, choices=choices(ErrorCode), blank=True)
    error_message = models.TextField(_("error message"), blank=True)

    # What reviewers decided about this run, or about an earlier one of the same model; it comes before what the model
    # says, and waits while there is no result. See detection.models.review.
    reviewed_verdict = models.CharField(
        _("verdict of reviewers"), max_length=12, choices=choices(Verdict), blank=True, db_index=True
    )
    reviewed_at = models.DateTimeField(_("reviewed"), null=True)
    review_unseen = models.BooleanField(default=False, editable=False)  # the user has not opened it since

    created_at = models.DateTimeField(_("sent"), auto_now_add=True)
    started_at = models.DateTimeField(_("begun"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    # How long the derived pictures and this row live; set when it ends, see detection.retention.
    pictures_expire_at = models.DateTimeField(_("pictures expire"), null=True)
    pictures_deleted_at = models.DateTimeField(_("pictures deleted"), null=True)
    expires_at = models.DateTimeField(_("result expires"), null=True, db_index=True)  # None: when its owner deletes it

    objects = AnalysisQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("analysis")
        verbose_name_plural = _("analyses")
        permissions = [("review_analysis", "Can review analyses")]
        indexes = [
            models.Index(fields=["status", "lease_until"], name="analysis_lost_work"),
            models.Index(fields=["-created_at"], name="analysis_newest"),
            models.Index(fields=["external_id"], name="analysis_external_id", condition=~models.Q(external_id="")),
            models.Index(
                fields=["pictures_expire_at"],
                name="analysis_pictures_due",
                condition=models.Q(pictures_deleted_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} ({self.status})"

    def get_absolute_url(self) -> str:
        return reverse("detection:analysis_detail", args=[self.pk])

    @property
    def is_active(self) -> bool:
        return self.status in self.ACTIVE

    @property
    def waits_for(self) -> str:
        """``queue`` if the queue did not take it (the sweeper sends it), ``worker`` if it did, else empty."""
        if self.status != self.Status.QUEUED:
            return ""
        return "queue" if self.sent_at is None else "worker"

    @property
    def percent(self) -> int:
        """Frames really read, 0 to 100. A run that still explains or stores stays at 99."""
        if self.status == self.Status.SUCCEEDED:
            return 100
        if not self.frames_total:
            return 0
        return min(99, 100 * self.frames_done // self.frames_total)

    @property
    def final_verdict(self) -> str:
        """The reviewers' word, or else the model's; empty without a result."""
        return self.verdict and (self.reviewed_verdict or self.verdict)

    @property
    def error(self) -> dict[str, str] | None:
        return {"code": self.error_code, "message": self.error_message} if self.error_code else None

    @property
    def folder(self) -> str:
        """Of its derived pictures, relative to the media root."""
        return f"{self.upload_id}/{self.pk}"


class FaceTrack(models.Model):
    """One person followed through the media."""

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="tracks", verbose_name=_("analysis"))
    number = models.PositiveIntegerField(_("number"))  # the engine's id, unique in its analysis
    score = models.FloatField(_("score"), null=True)
    verdict = models.CharField(_("verdict"), max_length=12, choices=choices(Verdict))
    reasons = models.JSONField(_("reasons"), default=list)
    segments = models.JSONField(_("flagged parts"), default=list)  # [{"start", "end"}, ...] seconds
    has_thumbnail = models.BooleanField(_("has a picture"), default=False)

    class Meta:
        ordering = ["analysis", "number"]
        verbose_name = _("person")
        verbose_name_plural = _("people")
        constraints = [models.UniqueConstraint(fields=["analysis", "number"], name="unique_track")]

    def __str__(self) -> str:
        return f"track {self.number}"


class FaceScore(models.Model):
    """One face in one frame. Boxes are pixels of the displayed picture, right and bottom exclusive."""

    track = models.ForeignKey(FaceTrack, on_delete=models.CASCADE, related_name="scores", verbose_name=_("person"))
    number = models.PositiveIntegerField(_("number"))  # names its pictures, unique in its analysis
    frame_index = models.PositiveIntegerField(_("frame"))
    time = models.FloatField(_("time in seconds"))
    box = models.JSONField(_("box"))  # {"left", "top", "right", "bottom"}
    crop_box = models.JSONField(_("box of the crop"))  # where the crop lies; may reach over the picture's edge
    confidence = models.FloatField(_("confidence"))
    score = models.FloatField(_("score"))
    logit = models.FloatField(_("logit"))
    flagged = models.BooleanField(_("flagged"))
    face_size = models.FloatField(_("width of the face"))
    sharpness = models.FloatField(_("sharpness"))
    brightness = models.FloatField(_("brightness"))
    detail = models.FloatField(_("share inside the picture"))
    has_pictures = models.BooleanField(_("has pictures"), default=False)
    # Among its pictures, unless the model gives none.
    has_heatmap = models.BooleanField(_("has a heat map"), default=True)

    class Meta:
        ordering = ["track", "time", "number"]
        verbose_name = _("scored face")
        verbose_name_plural = _("scored faces")
        constraints = [models.UniqueConstraint(fields=["track", "number"], name="unique_score")]

    def __str__(self) -> str:
        return f"{self.score:.2f} at {self.time:.2f} s"

    def as_dict(self) -> dict[str, Any]:
        """The facts that a report gives about a face, without its pictures' addresses."""
        return {
            "box": self.box,
            "crop_box": self.crop_box,
            "score": self.score,
            "flagged": self.flagged,
            "confidence": round(self.confidence, 4),
            "quality": {
                "face_size": round(self.face_size, 1),
                "sharpness": round(self.sharpness, 1),
                "brightness": round(self.brightness, 1),
                "detail": round(self.detail, 3),
            },
        }
