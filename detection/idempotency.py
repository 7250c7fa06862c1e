"""``Idempotency-Key``: a request that is sent twice, because its answer got lost, is done once."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from detection.models import IdempotentRequest
from detection.problems import Refused

logger = logging.getLogger(__name__)

LONGEST_KEY = 200
# A request that has not been answered for so long is taken for dead. Longer than any request may wait.
CLAIM = timedelta(minutes=5)


@dataclass(slots=True)
class Attempt:
    """One request under a key. Whoever is the first does the work and calls ``answered``."""

    row: IdempotentRequest | None  # None: there is no key, nothing is remembered

    @property
    def earlier(self) -> tuple[int, Any] | None:
        """Status and body of the answer that was given before."""
        if self.row is None or self.row.status is None:
            return None
        return self.row.status, self.row.answer

    def answered(self, status: int, body: Any) -> None:
        """Remember an answer; may be called again with a better one."""
        if self.row is not None:
            IdempotentRequest.objects.filter(pk=self.row.pk).update(status=status, answer=body)


def fingerprint(**facts: Any) -> str:
    """Of everything that a request asks for: the same for the same."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def attempt(*, user: User, key: str, print_: str) -> Iterator[Attempt]:
    """Take the key. If what happens inside raises before there was an answer, the key is free again.

    Raises:
        Refused: ``idempotency_key_reused`` for another request under the same key, ``idempotency_key_in_use`` while
            the first one is still at work, ``invalid_request`` for a key that is too long.
    """
    if not key:
        yield Attempt(None)
        return
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise Refused("invalid_request", _("This Idempotency-Key is too long or not printable."))
    found = Attempt(_take(user, key, print_))
    try:
        yield found
    except BaseException:
        IdempotentRequest.objects.filter(pk=found.row.pk, status=None).delete()  # type: ignore[union-attr]
        raise


def _take(user: User, key: str, print_: str) -> IdempotentRequest:
    now = timezone.now()
    IdempotentRequest.objects.filter(Q(expires_at__lt=now), user=user, key=key).delete()
    expires = now + timedelta(hours=settings.IDEMPOTENCY_HOURS)
    try:
        with transaction.atomic():
            return IdempotentRequest.objects.create(
                user=user, key=key, fingerprint=print_, claimed_until=now + CLAIM, expires_at=expires
            )
    except IntegrityError:
        pass  # somebody was faster
    rows = IdempotentRequest.objects.filter(user=user, key=key)
    row = rows.first()
    if row is not None and row.fingerprint != print_:
        raise Refused(
            "idempotency_key_reused", _("This Idempotency-Key was used before, with a request that asked for another.")
        )
    if row is not None and row.status is not None:
        return row
    # One that died is taken over by exactly one of those who wait for it.
    if row is not None and rows.filter(status=None, claimed_until__lt=now).update(claimed_until=now + CLAIM):
        logger.warning("idempotency key of user %s taken over from a request that was never answered", user.pk)
        return row
    raise Refused(
        "idempotency_key_in_use", _("A request with this Idempotency-Key is still being worked on."), retry_after=1
    )


def forget(*, user_id: int, analysis_id: uuid.UUID) -> None:
    """Forget the answers that told of an analysis: it is gone, and so is what was found."""
    IdempotentRequest.objects.filter(user=user_id, answer__id=str(analysis_id)).delete()


def forget_expired() -> None:
    IdempotentRequest.objects.filter(expires_at__lt=timezone.now()).delete()
