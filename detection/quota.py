"""How many analyses one user may begin in a day, and how much may be stored at once.

In the database, so it holds for any number of processes.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import Count, F, Sum
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from detection.models import DailyUse, Upload
from detection.problems import Refused

KEPT = timedelta(days=90)  # of the record, for the site's owner


def used_today(user: User) -> int:
    return DailyUse.objects.filter(user=user, day=_today()).values_list("analyses", flat=True).first() or 0


def midnight() -> datetime:
    """When the next day begins, in UTC."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def spend(user: User) -> None:
    """Count one analysis; inside the transaction that begins it, so that what fails is not counted.

    Raises:
        Refused: ``quota_exceeded``.
    """
    today, _created = DailyUse.objects.get_or_create(user=user, day=_today())
    rows = DailyUse.objects.filter(pk=today.pk)
    if settings.DAILY_QUOTA:
        rows = rows.filter(analyses__lt=settings.DAILY_QUOTA)
    # One conditional UPDATE: of two requests for the last place one gets it.
    if not rows.update(analyses=F("analyses") + 1):
        raise _exceeded()


def require(user: User, number: int) -> None:
    """Raises Refused (``quota_exceeded``) if not so many more may be begun today."""
    if settings.DAILY_QUOTA and used_today(user) + number > settings.DAILY_QUOTA:
        raise _exceeded()


def _exceeded() -> Refused:
    return Refused(
        "quota_exceeded",
        _("That would be more than %(number)d analyses today, which is as many as one may begin.")
        % {"number": settings.DAILY_QUOTA},
        retry_after=max(1, int((midnight() - timezone.now()).total_seconds())),
    )


def stored(user: User) -> dict[str, int]:
    """This user's files that are still there: how many (``files``), and how many bytes (``bytes``)."""
    there = Upload.objects.filter(user=user, media_deleted_at=None)
    return there.aggregate(files=Count("pk"), bytes=Sum("size", default=0))


def require_room(user: User, size: int, *, emptied: timedelta | None = None) -> None:
    """Raises Refused (``storage_full``) if there is no room for so many bytes more.

    Args:
        emptied: many strangers share this account, and what they send goes by itself after so long. They are told to
            come again: none of them can delete anything.
    """
    limit = settings.STORAGE_BYTES
    if not limit or stored(user)["bytes"] + size <= limit:
        return
    if emptied is not None:
        raise Refused(
            "storage_full",
            _("This server holds too many files of visitors for now. Try again in an hour."),
            retry_after=int(emptied.total_seconds()),
        )
    raise Refused(
        "storage_full",
        _(
            "There is no room for this: your files may take %(limit)s together. Delete some that you do not need "
            "any more, or have them kept for a shorter time; their results stay."
        )
        % {"limit": filesizeformat(limit)},
    )


def take_room(user: User, size: int, *, emptied: timedelta | None = None) -> None:
    """The same inside the transaction that stores a file: of two that come at once, the second sees the first."""
    if settings.STORAGE_BYTES:
        # Not FOR UPDATE: that would wait for, and hold up, whatever else refers to this user.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        require_room(user, size, emptied=emptied)


def forget_old() -> None:
    DailyUse.objects.filter(day__lt=_today() - KEPT).delete()


def _today() -> date:
    return timezone.now().date()
