"""Deletes what has served its time: files, then pictures, then results, at last the receipts."""

from __future__ import annotations

import logging
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from detection import retention, services
from detection.cleanup.each import each
from detection.models import Analysis, DeletionReason, DeletionReceipt, Upload

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Expired:
    """How many were deleted, or would be."""

    files: int
    pictures: int  # of so many analyses
    results: int
    receipts: int


def expire(*, dry_run: bool = False) -> Expired:
    """Delete everything whose time has come."""
    now = timezone.now()
    if not dry_run:
        each(_without_clock().values_list("pk", flat=True), _start_clock, dry_run=False)
    # Results first: with them go their pictures and their files, so that these need no deletion of their own.
    done = Expired(
        results=each(_results_due(now), _delete_result, dry_run=dry_run),
        pictures=each(
            _pictures_due(now), partial(retention.delete_pictures, reason=DeletionReason.EXPIRED), dry_run=dry_run
        ),
        files=each(_files_due(now), partial(retention.delete_file, reason=DeletionReason.EXPIRED), dry_run=dry_run),
        receipts=_forget_receipts(now, dry_run=dry_run),
    )
    if not dry_run and any(asdict(done).values()):
        logger.info("expired: %s", done)
    return done


def _files_due(now: datetime) -> QuerySet[Upload, uuid.UUID]:
    due = Upload.objects.filter(media_deleted_at=None, media_expires_at__lte=now).exclude(media_held_until__gt=now)
    return due.exclude(analyses__status__in=Analysis.ACTIVE).values_list("pk", flat=True)


def _ended() -> QuerySet[Analysis]:
    return Analysis.objects.exclude(status__in=Analysis.ACTIVE).order_by()


def _pictures_due(now: datetime) -> QuerySet[Analysis, uuid.UUID]:
    due = _ended().filter(pictures_deleted_at=None, pictures_expire_at__lte=now)
    return due.exclude(upload__media_held_until__gt=now).values_list("pk", flat=True)


def _results_due(now: datetime) -> QuerySet[Analysis]:
    return _ended().filter(expires_at__lte=now).exclude(upload__media_held_until__gt=now)


def _delete_result(analysis: Analysis) -> None:
    services.delete(analysis=analysis, reason=DeletionReason.EXPIRED)


def _without_clock() -> QuerySet[Analysis]:
    """Those that ended before there were clocks: their time begins now."""
    return _ended().filter(pictures_expire_at=None)


def _start_clock(analysis_id: uuid.UUID) -> None:
    with transaction.atomic():
        analysis = _without_clock().select_for_update().filter(pk=analysis_id).first()
        if analysis is not None:
            retention.ended(analysis)


def _forget_receipts(now: datetime, *, dry_run: bool) -> int:
    old = DeletionReceipt.objects.filter(deleted_at__lt=now - timedelta(days=settings.RECEIPT_DAYS))
    return old.count() if dry_run else old.delete()[0]
