"""Duties that one of many processes has at a time, and which the next one takes over when it dies."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from detection.models import Lease


def take(name: str, holder: uuid.UUID, seconds: float) -> bool:
    """Take a duty or keep it, by conditional UPDATE; False while somebody else has it."""
    now = timezone.now()
    until = now + timedelta(seconds=seconds)
    free = Q(holder=holder) | Q(until__lt=now)
    if Lease.objects.filter(free, name=name).update(holder=holder, until=until):
        return True
    try:
        with transaction.atomic():
            lease, _created = Lease.objects.get_or_create(name=name, defaults={"holder": holder, "until": until})
    except IntegrityError:  # somebody was faster
        return False
    return lease.holder == holder  # also if it was another thread of the same one that was faster


def give_up(name: str, holder: uuid.UUID) -> None:
    Lease.objects.filter(name=name, holder=holder).delete()


class JobLeader:
    """Whether this process is the one that runs the scheduled jobs; see ``config.scheduler``."""

    NAME = "jobs"

    def __init__(self) -> None:
        self.holder = uuid.uuid4()
        # Longer than the pause between two jobs, each of which renews it.
        self.seconds = 5 + 2 * min((seconds for _path, seconds in settings.JOBS), default=0)

    def leads(self) -> bool:
        return take(self.NAME, self.holder, self.seconds)

    def resign(self) -> None:
        give_up(self.NAME, self.holder)
