"""Who hears how analyses end: addresses, events, and their deliveries."""

from __future__ import annotations

import base64
import secrets
import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from config import sealing
from detection.models.analysis import Analysis


def new_secret() -> str:
    """As the Standard Webhooks specification writes it: 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def new_sealed_secret() -> str:
    return sealing.seal(new_secret())


class SigningKey(models.Model):
    """A secret that deliveries are signed with. Signing needs it as it is, so it is sealed: a hash would not do.

    ``secret`` reads and writes the column ``sealed_secret``. Reading raises ``sealing.CannotUnseal``.
    """

    OVERLAP = timedelta(days=1)

    sealed_secret = models.CharField(max_length=255, default=new_sealed_secret, editable=False)
    sealed_previous_secret = models.CharField(max_length=255, blank=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True

    @property
    def secret(self) -> str:
        return sealing.unseal(self.sealed_secret)

    def secrets(self, now: datetime) -> list[str]:
        """Those to sign with: the newest first, and for a day after a change the one before."""
        overlap = self.previous_until is not None and now < self.previous_until
        return [self.secret, sealing.unseal(self.sealed_previous_secret)] if overlap else [self.secret]

    def rotate(self, now: datetime) -> None:
        """A new secret. One that cannot be read any more signs nothing, so it does not sign along either."""
        self.previous_until = now + self.OVERLAP if sealing.is_readable(self.sealed_secret) else None
        self.sealed_previous_secret = self.sealed_secret if self.previous_until else ""
        self.sealed_secret = new_sealed_secret()
        self.save(update_fields=["sealed_secret", "sealed_previous_secret", "previous_until"])

    def reseal(self) -> None:
        """Seal what is stored with the site's present key. Raises CannotUnseal."""
        self.sealed_secret = sealing.reseal(self.sealed_secret)
        if self.sealed_previous_secret:
            self.sealed_previous_secret = sealing.reseal(self.sealed_previous_secret)
        self.save(update_fields=["sealed_secret", "sealed_previous_secret"])


class CallbackKey(SigningKey):
    """Signs what is sent to the ``callback_url`` of a user's single requests."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="callback_key")

    def __str__(self) -> str:
        return f"callback key of user {self.user_id}"


class WebhookEvent(models.Model):
    """Something that happened to an analysis, in the words that were sent.

    Without an ``analysis`` it tells that one was deleted before it had ended.
    """

    class Type(models.TextChoices):
        COMPLETED = "analysis.completed", _("Analysis completed")
        FAILED = "analysis.failed", _("Analysis failed")
        CANCELLED = "analysis.cancelled", _("Analysis cancelled")
        REVIEWED = "analysis.reviewed", _("Analysis reviewed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    analysis = models.ForeignKey(Analysis, on_delete=models.SET_NULL, null=True, related_name="events")
    type = models.CharField(max_length=20, choices=Type)
    body = models.TextField()  # JSON; what is signed, to the byte
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.type} {self.pk}"


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    """Reads of endpoints."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> WebhookEndpointQuerySet:
        return self.filter(user_id=user.pk) if user.is_authenticated else self.none()


def all_events() -> list[str]:
    return list(WebhookEvent.Type.values)


class WebhookEndpoint(SigningKey):
    """An address of a user's that hears how every analysis ended."""

    class PauseReason(models.TextChoices):
        USER = "user", _("You paused it.")
        FAILING = "failing", _("It was paused because several deliveries in a row were given up.")
        GONE = "gone", _("It was paused because the address answered 410 Gone.")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=500)
    events = models.JSONField(default=all_events)  # values of WebhookEvent.Type
    paused_at = models.DateTimeField(null=True)
    pause_reason = models.CharField(max_length=10, choices=PauseReason, blank=True)
    given_up = models.PositiveIntegerField(default=0)  # deliveries in a row
    created_at = models.DateTimeField(auto_now_add=True)

    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.url

    def get_absolute_url(self) -> str:
        return reverse("detection:webhook_detail", args=[self.pk])


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    """Reads of deliveries."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> WebhookDeliveryQuerySet:
        return self.filter(event__user_id=user.pk) if user.is_authenticated else self.none()


class WebhookDelivery(models.Model):
    """One event on its way to one address.

    ``pending`` until it is ``delivered`` (an answer of 2xx) or ``failed`` (given up). An attempt is claimed by a
    conditional UPDATE that moves ``next_try_at`` forward: if its worker dies, that is when the next one is made.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("Waiting")
        DELIVERED = "delivered", _("Delivered")
        FAILED = "failed", _("Given up")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event = models.ForeignKey(WebhookEvent, on_delete=models.CASCADE, related_name="deliveries")
    # None: asked for by a request's callback_url.
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, null=True, related_name="deliveries")
    url = models.URLField(max_length=500)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    message_at = models.DateTimeField(null=True, editable=False)  # when the broker last took a message for it
    answer_code = models.PositiveSmallIntegerField(null=True)  # HTTP status of the last answer
    note = models.CharField(max_length=500, blank=True)  # the beginning of that answer, or why there was none
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "webhook deliveries"
        indexes = [models.Index(fields=["status", "next_try_at"], name="delivery_due")]

    def __str__(self) -> str:
        return f"{self.pk} ({self.status})"
