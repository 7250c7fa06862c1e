"""What the site asks of those who work on it."""

from __future__ import annotations

from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings


def lacks_second_factor(user: Any) -> bool:
    """Whether somebody still has to set one up before what only staff may do (``VERIFRAME_STAFF_MFA``)."""
    return bool(settings.STAFF_MFA and not is_mfa_enabled(user, types=["totp"]))
