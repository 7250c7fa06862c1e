"""What a user asks for: addresses that hear of every analysis, their secrets, and a delivery made again."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from detection.models import CallbackKey, WebhookDelivery, WebhookEndpoint, WebhookEvent
from detection.problems import Refused
from detection.webhooks import guarded, outbox
from detection.webhooks.delivery import send

MOST_ENDPOINTS = 10  # of one user


def checked_url(text: str) -> str:
    """An address that may be sent to, in its normal form. Raises Refused (``invalid_webhook_url``)."""
    try:
        return guarded.checked_url(text)
    except guarded.NotAllowed as error:
        raise Refused("invalid_webhook_url", str(error)) from None


def create(*, user: User, url: str, events: Sequence[str]) -> WebhookEndpoint:
    """Raises Refused (``invalid_webhook_url``; ``conflict`` when there are too many)."""
    url = checked_url(url)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)  # two requests at once must not both see room for one
        if user.webhooks.count() >= MOST_ENDPOINTS:
            raise Refused("conflict", _("You have %(number)d webhooks already.") % {"number": MOST_ENDPOINTS})
        wanted = [event for event in WebhookEvent.Type.values if event in events]
        return WebhookEndpoint.objects.create(user=user, url=url, events=wanted)


def pause(*, endpoint: WebhookEndpoint) -> None:
    """What ends from now on is not told; what is owed already waits."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk, paused_at=None).update(
        paused_at=timezone.now(), pause_reason=WebhookEndpoint.PauseReason.USER
    )
    endpoint.refresh_from_db()


def resume(*, endpoint: WebhookEndpoint) -> None:
    """Go on, with what is owed first."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(paused_at=None, pause_reason="", given_up=0)
    endpoint.refresh_from_db()
    due = endpoint.deliveries.filter(status=WebhookDelivery.Status.PENDING, next_try_at__lte=timezone.now())
    for pk in due.values_list("pk", flat=True):
        send(pk)


def rotate(*, endpoint: WebhookEndpoint) -> str:
    """A new secret, returned this once. The old one signs along for a day, so that receivers can change over."""
    endpoint.rotate(timezone.now())
    return endpoint.secret


def rotate_callback_key(*, user: User) -> str:
    """The same for what is sent to the ``callback_url`` of single requests."""
    key, is_new = CallbackKey.objects.get_or_create(user=user)
    if not is_new:
        key.rotate(timezone.now())
    return key.secret


def redeliver(*, delivery: WebhookDelivery) -> WebhookDelivery:
    """Send the same event once more, with the same id, as a delivery of its own.

    Raises Refused (``conflict``) while the event is still being sent to this address or the endpoint is paused.
    """
    if delivery.status == WebhookDelivery.Status.PENDING:
        raise Refused("conflict", _("This delivery is still being tried."))
    if delivery.endpoint is not None and delivery.endpoint.paused_at is not None:
        raise Refused("conflict", _("This webhook is paused. Let it go on first."))
    if delivery.event.deliveries.filter(url=delivery.url, status=WebhookDelivery.Status.PENDING).exists():
        raise Refused("conflict", _("This delivery is still being tried."))
    with transaction.atomic():
        return outbox.promise(delivery.event, delivery.endpoint, delivery.url)
