"""What is to be told, written in the transaction that ends the analysis.

The row is the promise, the message to a worker only hurries it: an event is neither lost when the broker is away nor
told when the transaction fails.
"""

from __future__ import annotations

import json
from functools import partial

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.utils import timezone

from detection import reports
from detection.models import Analysis, WebhookDelivery, WebhookEndpoint, WebhookEvent
from detection.webhooks import delivery

EVENTS = {
    Analysis.Status.SUCCEEDED: WebhookEvent.Type.COMPLETED,
    Analysis.Status.FAILED: WebhookEvent.Type.FAILED,
    Analysis.Status.CANCELLED: WebhookEvent.Type.CANCELLED,
}


def record(analysis: Analysis, kind: WebhookEvent.Type | None = None) -> None:
    """Promise to tell everybody who wants to know what became of this analysis. Call it inside the transaction.

    ``analysis`` must be as the row is now.

    Args:
        kind: what is told; None: how it ended, which alone is told to ``callback_url``.
    """
    ending = kind is None
    kind = kind or EVENTS[Analysis.Status(analysis.status)]
    listening = WebhookEndpoint.objects.filter(user_id=analysis.upload.user_id, paused_at=None)
    targets: list[tuple[WebhookEndpoint | None, str]] = [(e, e.url) for e in listening if kind in e.events]
    if analysis.callback_url and ending:
        targets.append((None, analysis.callback_url))
    if targets:
        _promise_all(analysis, kind, targets)


def call_back(analysis: Analysis, url: str) -> None:
    """Tell one address of an analysis that had ended before anybody asked for the call."""
    with transaction.atomic():
        _promise_all(analysis, EVENTS[Analysis.Status(analysis.status)], [(None, url)])


def _promise_all(
    analysis: Analysis, kind: WebhookEvent.Type, targets: list[tuple[WebhookEndpoint | None, str]]
) -> None:
    event = WebhookEvent(user_id=analysis.upload.user_id, analysis=analysis, type=kind, created_at=timezone.now())
    event.body = json.dumps(
        {
            "id": str(event.pk),
            "type": kind,
            "timestamp": event.created_at.isoformat(),
            "data": reports.analysis_payload(analysis),
        },
        cls=DjangoJSONEncoder,
    )
    event.save(force_insert=True)
    for endpoint, url in targets:
        promise(event, endpoint, url)


def forget(analysis: Analysis) -> None:
    """What was deleted is deleted here, too: also what nobody has been told yet."""
    WebhookEvent.objects.filter(analysis=analysis).delete()


def promise(event: WebhookEvent, endpoint: WebhookEndpoint | None, url: str) -> WebhookDelivery:
    """One delivery, sent on commit."""
    row = WebhookDelivery.objects.create(event=event, endpoint=endpoint, url=url, next_try_at=timezone.now())
    # robust: the rows are committed by then, and what else waits for the commit must be done as well.
    transaction.on_commit(partial(delivery.send, row.pk), robust=True)
    return row
