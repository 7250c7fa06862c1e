"""Sending what was promised: claim a delivery, sign it, post it, write down what became of it, try again later.

Signed after the Standard Webhooks specification (https://www.standardwebhooks.com), with its own library.
"""

from __future__ import annotations

import logging
import random
import uuid
from datetime import datetime, timedelta
from typing import Any

import dramatiq
from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override
from dramatiq import DramatiqError
from dramatiq.middleware import TimeLimitExceeded
from redis.exceptions import RedisError
from standardwebhooks import Webhook

from config import log
from config.sealing import CannotUnseal
from detection import metrics
from detection.models import CallbackKey, WebhookDelivery, WebhookDeliveryQuerySet, WebhookEndpoint, WebhookEvent
from detection.webhooks import guarded
from detection.webhooks.guarded import NotAllowed, NotSent

logger = logging.getLogger(__name__)

Status = WebhookDelivery.Status
# After each failed attempt; together a little over a day.
BACKOFF = [
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=16),
]
LEASE = timedelta(minutes=3)  # an attempt whose worker died is made again
PAUSE_AFTER = 5  # deliveries in a row that were given up
JUST_NOW = timedelta(seconds=10)
CLOCKS_DIFFER = timedelta(seconds=2)  # between the machines of one site; less than the shortest BACKOFF
RESEND_AFTER = timedelta(minutes=10)
KEPT = timedelta(days=30)  # how long the log remembers
GONE = 410  # the receiver wants no more, says the specification


@dramatiq.actor(
    queue_name="webhooks",
    priority=-10,  # lower is sooner: between two analyses, what ended is told first
    time_limit=20_000,  # longer than an ordinary attempt by guarded's limits; ends one that trickles
    max_retries=3,  # of a database that is away; what the receiver does is counted in the row
    min_backoff=1_000,
    max_backoff=60_000,
)
def deliver(delivery_id: str) -> None:
    """Make one attempt, if it is due and nobody else makes it."""
    attempt(uuid.UUID(delivery_id))


def send(delivery_id: uuid.UUID, *, delay: timedelta = timedelta(0)) -> None:
    """Put the message into the queue. If the broker is away, the sweeper sends it later."""
    if _enqueue(delivery_id, delay):
        WebhookDelivery.objects.filter(pk=delivery_id).update(message_at=timezone.now())


def _enqueue(delivery_id: uuid.UUID, delay: timedelta = timedelta(0)) -> bool:
    try:
        deliver.send_with_options(args=(str(delivery_id),), delay=delay or None)
    except (DramatiqError, RedisError, OSError) as error:
        logger.warning("delivery %s: message not sent, the sweeper will: %s", delivery_id, error)
        return False
    return True


def sweep(*, forgotten: bool = False) -> int:
    """Send again what is overdue, forget what is old. Returns how many were sent.

    ``forgotten``: the queue has lost its messages.
    """
    now = timezone.now()
    # What tells of a deleted analysis is kept no longer than it takes to tell it.
    told = Q(analysis=None) & ~Q(deliveries__status=Status.PENDING)
    WebhookEvent.objects.filter(Q(created_at__lt=now - KEPT) | told).delete()
    unsent = Q(message_at=None) | Q(message_at__lt=now if forgotten else now - RESEND_AFTER)
    overdue = _waiting().filter(unsent, next_try_at__lt=now - JUST_NOW)
    sent = 0
    for delivery_id, message_at in list(overdue.values_list("pk", "message_at")):
        if not _take(delivery_id, message_at):
            continue
        if not _enqueue(delivery_id):
            WebhookDelivery.objects.filter(pk=delivery_id).update(message_at=message_at)
            break  # a broker that is away takes its time to say so, for each row anew
        sent += 1
    return sent


def _take(delivery_id: uuid.UUID, message_at: datetime | None) -> bool:
    """Several sweepers may see the same row: the one whose update counts sends."""
    row = WebhookDelivery.objects.filter(pk=delivery_id, message_at=message_at)
    return bool(row.update(message_at=timezone.now()))


def _waiting() -> WebhookDeliveryQuerySet:
    """What is still owed. What belongs to a paused endpoint waits until it goes on."""
    return WebhookDelivery.objects.filter(Q(endpoint=None) | Q(endpoint__paused_at=None), status=Status.PENDING)


def attempt(delivery_id: uuid.UUID) -> None:
    """Claim by conditional UPDATE, post, write down the outcome. A message that comes twice does nothing."""
    now = timezone.now()
    due = _waiting().filter(pk=delivery_id, next_try_at__lte=now + CLOCKS_DIFFER)
    if not due.update(next_try_at=now + LEASE, attempts=F("attempts") + 1):
        return
    row = WebhookDelivery.objects.select_related("event", "endpoint").filter(pk=delivery_id).first()
    if row is None:
        return  # deleted in this very moment
    with log.about(row.event.analysis_id):
        _make(row)


def _make(row: WebhookDelivery) -> None:
    """The attempt itself."""
    if row.attempts > len(BACKOFF) + 1:
        # Whoever made the last attempt died of it without a word: the next one would, too.
        _conclude(row, None, row.note)
        return
    code, note = None, ""
    # The log is read by its owner in any language; what is stored is stored in one.
    with override(settings.LANGUAGE_CODE):
        try:
            answer = guarded.post(row.url, row.event.body.encode(), _headers(row))
            code, note = answer.code, answer.text
            if 300 <= code < 400:
                note = _("Redirects are not followed.")
        except (NotAllowed, NotSent) as error:
            note = str(error)
        except CannotUnseal as error:
            logger.error("delivery %s: %s", row.pk, error)
            note = _("The secret to sign with cannot be read any more. Make a new one.")
        except TimeLimitExceeded:
            note = _("There was no answer in time.")
    _conclude(row, code, note)


def _headers(row: WebhookDelivery) -> dict[str, str]:
    now = timezone.now().replace(microsecond=0)
    key = row.endpoint or CallbackKey.objects.get_or_create(user_id=row.event.user_id)[0]
    event_id = str(row.event.pk)
    signatures = [Webhook(secret).sign(event_id, now, row.event.body) for secret in key.secrets(now)]
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Veriframe/{settings.VERSION}",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _conclude(row: WebhookDelivery, code: int | None, note: str) -> None:
    now = timezone.now()
    values: dict[str, Any] = {"answer_code": code, "note": note[:500]}
    wait = None
    if code is not None and 200 <= code < 300:
        values |= {"status": Status.DELIVERED, "ended_at": now, "next_try_at": None}
    elif code == GONE or row.attempts > len(BACKOFF):
        values |= {"status": Status.FAILED, "ended_at": now, "next_try_at": None}
    else:
        wait = BACKOFF[row.attempts - 1] * random.uniform(1, 1.1)  # noqa: S311  (so that not all come back at once)
        values |= {"next_try_at": now + wait}
    # Only if this is still the latest attempt: a worker that was thought dead must not overwrite its successor's.
    mine = WebhookDelivery.objects.filter(pk=row.pk, status=Status.PENDING, attempts=row.attempts)
    if not mine.update(**values):
        return
    metrics.WEBHOOKS.labels(values.get("status", "retried")).inc()
    # Without the note: a receiver may answer with what it was sent.
    logger.info("delivery %s: attempt %d, %s", row.pk, row.attempts, code or "no answer")
    if wait is not None:
        send(row.pk, delay=wait)
    elif row.endpoint is not None:
        _count(row.endpoint, values["status"], gone=code == GONE)


def _count(endpoint: WebhookEndpoint, status: str, *, gone: bool) -> None:
    """Pause an endpoint that answers nothing any more, and note why."""
    if status == Status.DELIVERED:
        WebhookEndpoint.objects.filter(pk=endpoint.pk, given_up__gt=0).update(given_up=0)
        return
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(given_up=F("given_up") + 1)
    lost = WebhookEndpoint.objects.filter(pk=endpoint.pk, paused_at=None)
    if gone:
        paused = lost.update(paused_at=timezone.now(), pause_reason=WebhookEndpoint.PauseReason.GONE)
    else:
        paused = lost.filter(given_up__gte=PAUSE_AFTER).update(
            paused_at=timezone.now(), pause_reason=WebhookEndpoint.PauseReason.FAILING
        )
    if paused:
        logger.warning("webhook %s: paused, it %s", endpoint.pk, "answered 410 Gone" if gone else "kept failing")
