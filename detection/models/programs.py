"""What programs need: a day's count of analyses, and requests that are answered once however often they come."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class DailyUse(models.Model):
    """How many analyses a user began on one day (UTC). Counted here and not by rows, which can be deleted."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    analyses = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "day"], name="unique_day")]
        verbose_name_plural = "daily use"

    def __str__(self) -> str:
        return f"{self.analyses} on {self.day}"


class IdempotentRequest(models.Model):
    """A request that came with an ``Idempotency-Key``, and what was answered, until ``expires_at``.

    Without an ``answer`` it is still being worked on, or whoever worked on it died (see ``claimed_until``).
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of everything that the request asks for
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    claimed_until = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="unique_idempotency_key")]

    def __str__(self) -> str:
        return f"{self.key} ({self.status or 'at work'})"
