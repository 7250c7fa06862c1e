"""``manage.py reseal``: after the secret key was changed, so that the old one can be thrown away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError
from django.db import models, transaction

from accounts import second_factor
from config.sealing import CannotUnseal
from detection.models import CallbackKey, SigningKey, WebhookEndpoint


class Command(BaseCommand):
    help = "Seal stored secrets (second factors, webhooks) with the present VERIFRAME_SECRET_KEY."

    def handle(self, **options: object) -> None:
        kinds: tuple[tuple[type[models.Model], Callable[[Any], None]], ...] = (
            (Authenticator, second_factor.reseal),
            (WebhookEndpoint, SigningKey.reseal),
            (CallbackKey, SigningKey.reseal),
        )
        lost = sum(self._reseal(model, reseal) for model, reseal in kinds)
        if lost:
            raise CommandError(
                f"{lost} cannot be read: sealed neither with VERIFRAME_SECRET_KEY nor with one of "
                "VERIFRAME_OLD_SECRET_KEYS. Delete those second factors in the admin, and have users of those webhooks "
                "make new secrets."
            )

    def _reseal(self, model: type[models.Model], reseal: Callable[[Any], None]) -> int:
        """Returns how many could not be read."""
        done = lost = 0
        for pk in list(model._default_manager.values_list("pk", flat=True)):
            # One by one: a recovery code that is used meanwhile must stay used.
            with transaction.atomic():
                row = model._default_manager.select_for_update().filter(pk=pk).first()
                if row is None:
                    continue
                try:
                    reseal(row)
                except CannotUnseal:
                    self.stderr.write(f"{model._meta.verbose_name} {pk}: cannot be read")
                    lost += 1
                else:
                    done += 1
        self.stdout.write(f"{model._meta.verbose_name_plural}: {done} sealed")
        return lost
