"""Codes of the second factor, each of which opens once."""

from __future__ import annotations

import re

from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms
from django.core.cache import cache

# allauth remembers a used code for one period of 30 seconds. With MFA_TOTP_TOLERANCE = 1 one is good for three: without
# this, whoever looked over a shoulder could use it after the first.
LASTS = 120  # seconds


class OnlyOnce:
    """For a form whose ``clean_code`` says whether the code is right."""

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        bare = re.sub(r"[\W_]", "", code).upper()  # people may type spaces
        if not cache.add(f"accounts.code.{self.user.pk}.{bare}", 1, LASTS):  # type: ignore[attr-defined]
            raise get_adapter().validation_error("incorrect_code")
        return code


class AuthenticateForm(OnlyOnce, forms.AuthenticateForm):
    """At sign-in."""


class ReauthenticateForm(OnlyOnce, forms.ReauthenticateForm):
    """Before something that protects the account is changed or seen."""
