"""Where this site differs from what allauth does."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress

from accounts.models import User


class AccountAdapter(DefaultAccountAdapter):
    """Notices reach everybody, also those whose address was entered by an administrator and never confirmed."""

    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        known = email or EmailAddress.objects.get_primary_email(user) or user.email
        super().send_notification_mail(template_prefix, user, context, known)
