"""How long things live: the site's periods, a user's choice, and the clocks of one upload and its analyses.

A clock is a column that says when something goes; ``detection.cleanup`` looks at the clocks and deletes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from accounts.models import User
from detection.models import Analysis, RetentionChoice, Upload
from detection.problems import Refused

# What pages offer, in seconds, as far as the site allows it. Programs may ask for any number.
OFFERED = (0, 600, 3600, 6 * 3600, 86400, 3 * 86400, 7 * 86400, 30 * 86400)


def checked(seconds: int) -> int:
    """A wish for how long a file is kept after its result. Raises Refused (``invalid_request``)."""
    if not 0 <= seconds <= settings.MEDIA_MAX_SECONDS:
        raise Refused(
            "invalid_request",
            _("A file can be kept for 0 to %(most)d seconds after its result.") % {"most": settings.MEDIA_MAX_SECONDS},
        )
    return seconds


def usual(user: User) -> int:
    """Seconds for which this user wants files to be kept when nothing else is said."""
    choice = RetentionChoice.objects.filter(user=user).values_list("keep_seconds", flat=True).first()
    return min(settings.MEDIA_SECONDS if choice is None else choice, settings.MEDIA_MAX_SECONDS)


def choose_usual(user: User, seconds: int) -> None:
    """Remember what a user wants from now on. Raises Refused (``invalid_request``)."""
    RetentionChoice.objects.update_or_create(user=user, defaults={"keep_seconds": checked(seconds)})


def offered(*also: int) -> list[int]:
    """Seconds that a page may offer on this site, with those that are in force."""
    allowed = {seconds for seconds in (*OFFERED, *also) if seconds <= settings.MEDIA_MAX_SECONDS}
    return sorted({*allowed, settings.MEDIA_SECONDS, settings.MEDIA_MAX_SECONDS})


def kept_for(upload: Upload) -> int:
    """Seconds for which this file is kept after its result. The site's owner may have lowered the limit since."""
    wanted = settings.MEDIA_SECONDS if upload.keep_seconds is None else upload.keep_seconds
    return min(wanted, settings.MEDIA_MAX_SECONDS)


def file_due(upload: Upload) -> datetime | None:
    """When the file goes; None while nobody knows, because it is not analysed yet."""
    if upload.media_expires_at is None or upload.media_held_until is None:
        return upload.media_expires_at
    return max(upload.media_expires_at, upload.media_held_until)


def ended(analysis: Analysis) -> None:
    """Start the clocks of an analysis that has just ended. Call it inside the transaction that ends it.

    ``analysis`` must be as the row is now; its columns, and those of its upload, are brought up to date.
    """
    now = timezone.now()
    analysis.pictures_expire_at = now + timedelta(days=settings.PICTURES_DAYS)
    analysis.expires_at = now + timedelta(days=settings.RESULTS_DAYS) if settings.RESULTS_DAYS else None
    Analysis.objects.filter(pk=analysis.pk).update(
        pictures_expire_at=analysis.pictures_expire_at, expires_at=analysis.expires_at
    )
    upload = Upload.objects.select_for_update().get(pk=analysis.upload_id)
    due = now + timedelta(seconds=kept_for(upload))
    # Never sooner than was promised: a reviewer, or another analysis of the same file, may need it for longer.
    upload.media_expires_at = max(upload.media_expires_at or due, due)
    upload.save(update_fields=["media_expires_at"])
    analysis.upload = upload


def keep_for(upload: Upload, seconds: int) -> None:
    """The user's wish for one file, counted from its result; from now on while there is none.

    Raises Refused: ``invalid_request``; ``media_deleted`` if the file is gone.
    """
    checked(seconds)
    with transaction.atomic():
        row = locked(upload)
        row.keep_seconds = seconds
        if row.media_expires_at is not None:
            row.media_expires_at = _result_at(row.analyses.all(), timezone.now()) + timedelta(seconds=seconds)
        row.save(update_fields=["keep_seconds", "media_expires_at"])
    upload.keep_seconds, upload.media_expires_at = row.keep_seconds, row.media_expires_at


def _result_at(analyses: Iterable[Analysis], now: datetime) -> datetime:
    return max((analysis.finished_at for analysis in analyses if analysis.finished_at), default=now)


def lock_owner(**upload: object) -> None:
    """Lock the user whose upload this is, first of all, in a transaction that ends or deletes something of theirs.

    Such a transaction writes rows that refer to the user, after it has locked the analysis. The deletion of the account
    locks the user and then deletes the analyses: without an order for both, each would wait for the other.
    """
    owners = User.objects.select_for_update(no_key=True, of=("self",))
    list(owners.filter(pk__in=Upload.objects.filter(**upload).values("user")))


def locked(upload: Upload) -> Upload:
    """The row, for a change, as it is now. Raises Refused: ``media_deleted``, or ``conflict`` if it is gone itself."""
    row = Upload.objects.select_for_update().filter(pk=upload.pk).first()
    if row is None:
        raise Refused("conflict", _("The analysis was deleted."))
    if row.media_deleted_at is not None:
        raise gone(row)
    return row


def gone(upload: Upload) -> Refused:
    """What is said about a file that is not there any more."""
    assert upload.media_deleted_at is not None
    says = _("The file was deleted on %(when)s. What was found in it is still here.")
    return Refused("media_deleted", says % {"when": moment(upload.media_deleted_at)})


def why_gone(analysis: Analysis, *, is_source: bool) -> Refused | None:
    """What is said about the file, or else about a picture, that was looked for in vain; None if nobody deleted it."""
    row = Analysis.objects.select_related("upload").filter(pk=analysis.pk).first()
    if row is None:
        return None
    if is_source:
        return gone(row.upload) if row.upload.media_deleted_at else None
    if row.pictures_deleted_at is None:
        return None
    says = _("The pictures of the faces were deleted on %(when)s.")
    return Refused("media_deleted", says % {"when": moment(row.pictures_deleted_at)})


def moment(when: datetime) -> str:
    """A day and time for people; pages turn it into their reader's time zone where they can."""
    return date_format(timezone.localtime(when), "DATETIME_FORMAT") + f" {timezone.localtime(when):%Z}"
