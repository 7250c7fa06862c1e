"""The second factor: codes that open once, keys that lie sealed in the database."""

from __future__ import annotations

import logging
import re

from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.base import forms
from allauth.mfa.models import Authenticator
from django.core.cache import cache

from config import sealing

logger = logging.getLogger(__name__)

# allauth remembers a used code for one period of 30 seconds. With MFA_TOTP_TOLERANCE = 1 one is good for three: without
# this, whoever looked over a shoulder could use it after the first.
LASTS = 120  # seconds


class Adapter(DefaultMFAAdapter):
    """allauth's own, which would store keys as they are."""

    def encrypt(self, text: str) -> str:
        return sealing.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Raises CannotUnseal."""
        return sealing.unseal(encrypted_text)


def reseal(factor: Authenticator) -> None:
    """Seal a stored factor's keys with the site's present key. Raises CannotUnseal."""
    for name in ("secret", "seed"):
        if name in factor.data:
            factor.data[name] = sealing.reseal(factor.data[name])
    if "migrated_codes" in factor.data:
        factor.data["migrated_codes"] = [sealing.reseal(code) for code in factor.data["migrated_codes"]]
    factor.save(update_fields=["data"])


class OnlyOnce:
    """For a form whose ``clean_code`` says whether the code is right."""

    def clean_code(self) -> str:
        try:
            code: str = super().clean_code()  # type: ignore[misc]
        except sealing.CannotUnseal as error:
            # To the user it is a code that does not open; an administrator can take the factor away.
            logger.error("second factor of user %s: %s", self.user.pk, error)  # type: ignore[attr-defined]
            raise get_adapter().validation_error("incorrect_code") from None
        bare = re.sub(r"[\W_]", "", code).upper()  # people may type spaces
        if not cache.add(f"accounts.code.{self.user.pk}.{bare}", 1, LASTS):  # type: ignore[attr-defined]
            raise get_adapter().validation_error("incorrect_code")
        return code


class AuthenticateForm(OnlyOnce, forms.AuthenticateForm):
    """At sign-in."""


class ReauthenticateForm(OnlyOnce, forms.ReauthenticateForm):
    """Before something that protects the account is changed or seen."""
