"""The end of files and pictures, before their time, at their time, or after it because somebody objected.

Whoever deletes locks the owner, the analyses of an upload and then the upload, in the order in which the runner and
``services.delete`` do, and looks again: of a clean-up, a new run and a deletion at the same moment one comes first, and
the others see what it left. A download that has the file open reads it to its end.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Min
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from detection import storage
from detection.models import Analysis, DeletionReason, DeletionReceipt, Dispute, FaceScore, FaceTrack, Upload
from detection.problems import Refused
from detection.retention.periods import file_due, lock_owner, locked

logger = logging.getLogger(__name__)

What = DeletionReceipt.What
EXTEND_DAYS = 7
WORTHWHILE = timedelta(minutes=1)  # pressing a button again a moment later gains nothing


def delete_file(upload_id: uuid.UUID, *, reason: DeletionReason) -> bool:
    """Delete the file that was sent; what was found in it stays.

    Returns:
        False if there is nothing to do: it is gone already, an analysis needs it, or the reason is not true (any more):
        not ``EXPIRED`` before its time, not ``MISSING`` while it is there.
    """
    with transaction.atomic():
        lock_owner(pk=upload_id)
        analyses = list(Analysis.objects.select_for_update().filter(upload=upload_id).order_by("pk"))
        upload = Upload.objects.select_for_update().filter(pk=upload_id, media_deleted_at=None).first()
        if upload is None or any(analysis.is_active for analysis in analyses):
            return False
        now = timezone.now()
        due, source = file_due(upload), storage.source(upload)
        if reason == DeletionReason.EXPIRED and (due is None or due > now):
            return False
        if reason == DeletionReason.MISSING and source.exists():
            return False
        upload.media_deleted_at, upload.media_deleted_reason = now, reason
        upload.save(update_fields=["media_deleted_at", "media_deleted_reason"])
        receipt(What.FILE, upload, reason, size=upload.size)
        # On commit, so that nobody finds the file missing whose row says that it is there. Should this process die in
        # between, `cleanup.tidy` finds it.
        transaction.on_commit(partial(source.unlink, missing_ok=True), robust=True)
    logger.info("upload %s: file deleted, %s", upload_id, reason)
    return True


def delete_pictures(analysis_id: uuid.UUID, *, reason: DeletionReason) -> bool:
    """Delete crops, heat maps and thumbnails of one analysis. Returns False as ``delete_file`` does."""
    with transaction.atomic():
        lock_owner(analyses=analysis_id)
        row = Analysis.objects.select_for_update().filter(pk=analysis_id, pictures_deleted_at=None).first()
        if row is None or row.is_active:
            return False
        upload = Upload.objects.get(pk=row.upload_id)
        now = timezone.now()
        due = [row.pictures_expire_at, upload.media_held_until]
        if reason == DeletionReason.EXPIRED and (due[0] is None or any(when and when > now for when in due)):
            return False
        if reason == DeletionReason.MISSING and storage.store().has_folder(row.folder):
            return False
        row.pictures_deleted_at = now
        row.save(update_fields=["pictures_deleted_at"])
        FaceTrack.objects.filter(analysis=row, has_thumbnail=True).update(has_thumbnail=False)
        FaceScore.objects.filter(track__analysis=row, has_pictures=True).update(has_pictures=False)
        size = storage.store().size_of(row.folder)
        if size:
            receipt(What.PICTURES, upload, reason, analysis_id=row.pk, size=size)
        # On commit, as the file above.
        transaction.on_commit(partial(remove_pictures, analysis_id, row.folder), robust=True)
    logger.info("analysis %s: pictures deleted, %s", analysis_id, reason)
    return True


def remove_pictures(analysis_id: uuid.UUID, folder: str) -> None:
    """Remove the pictures' folder of an analysis whose row says that they are deleted, or that is gone itself.

    A new run may have begun in the meantime: what it puts there is left alone.
    """
    with transaction.atomic():
        row = Analysis.objects.select_for_update().filter(pk=analysis_id).first()
        if row is not None and row.pictures_deleted_at is None:
            return
        # While the row is locked, so that no new run puts pictures there first.
        burn = storage.store().set_aside(folder)
    burn()


def receipt(
    what: DeletionReceipt.What,
    upload: Upload,
    reason: DeletionReason,
    *,
    analysis_id: uuid.UUID | None = None,
    size: int = 0,
) -> None:
    """Write down that something is deleted, in the transaction that deletes it. ``size`` in bytes."""
    DeletionReceipt.objects.create(
        user_id=upload.user_id,
        upload_id=upload.pk,
        analysis_id=analysis_id,
        what=what,
        reason=reason,
        sha256=upload.sha256,
        size=size,
        deleted_at=timezone.now(),
    )


def end_now(analysis: Analysis, *, by: User) -> None:
    """Delete the file of an analysis now, for its owner or for a reviewer.

    Raises Refused: ``media_deleted`` if it is gone already, ``conflict`` while an analysis needs it.
    """
    reason = DeletionReason.USER if analysis.upload.user_id == by.pk else DeletionReason.REVIEWER
    if not delete_file(analysis.upload_id, reason=reason):
        with transaction.atomic():
            locked(analysis.upload)  # raises, if that is why
        raise Refused("conflict", _("The file is still being analysed. Cancel the analysis first."))
    _look_again(analysis)


def extension() -> timedelta:
    """For how much longer a reviewer keeps a file at a time."""
    return timedelta(days=min(EXTEND_DAYS, settings.HOLD_DAYS))


def extend(analysis: Analysis, *, by: User) -> datetime:
    """Keep the file for one ``extension`` more than it would be, at most ``settings.HOLD_DAYS`` from now.

    Returns until when. Raises Refused: ``media_deleted`` if it is gone, ``invalid_request`` if it is kept for as long
    as it may be.
    """
    now = timezone.now()
    with transaction.atomic():
        row = locked(analysis.upload)
        due = max(file_due(row) or now, now)
        until = min(due + extension(), now + timedelta(days=settings.HOLD_DAYS))
        if until - due < WORTHWHILE:
            raise Refused(
                "invalid_request",
                _("A file can be kept for %(days)d days from now at most.") % {"days": settings.HOLD_DAYS},
            )
        row.media_expires_at = until
        row.save(update_fields=["media_expires_at"])
    logger.info("upload %s: kept until %s by user %s", row.pk, until, by.pk)
    _look_again(analysis)
    return until


def hold(analysis: Analysis) -> datetime | None:
    """Keep file, pictures and result while somebody objects: until ``release``, at most ``settings.HOLD_DAYS``.

    These days are counted from the first objection to what was found in this file: objecting once more, after taking it
    back or to a new run, does not hold it for longer.

    Returns until when; None if the file is gone already, or was held for so long before.
    """
    now = timezone.now()
    first = Dispute.objects.filter(case__analysis__upload=analysis.upload_id).aggregate(at=Min("opened_at"))["at"]
    until = (first or now) + timedelta(days=settings.HOLD_DAYS)
    if until > now:
        upload = Upload.objects.filter(pk=analysis.upload_id)
        upload.filter(media_held_until=None).update(media_held_until=until)
    _look_again(analysis)
    return None if analysis.upload.media_deleted_at else analysis.upload.media_held_until


def release(analysis: Analysis) -> None:
    """The objection is decided: what was held goes at its time, which may have passed."""
    Upload.objects.filter(pk=analysis.upload_id).update(media_held_until=None)
    _look_again(analysis)


def _look_again(analysis: Analysis) -> None:
    """Bring its upload up to date, unless it is deleted in this very moment."""
    analysis.upload = Upload.objects.filter(pk=analysis.upload_id).first() or analysis.upload
