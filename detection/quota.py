"""How many analyses one user may begin in a day. In the database, so it holds for any number of processes."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from detection.models import DailyUse
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


def forget_old() -> None:
    DailyUse.objects.filter(day__lt=_today() - KEPT).delete()


def _today() -> date:
    return timezone.now().date()
