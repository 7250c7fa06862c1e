"""Where this site differs from what allauth does."""

from __future__ import annotations

import logging
import smtplib
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import context as current
from django.contrib import messages
from django.utils.translation import gettext as _

from accounts.models import User

logger = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """Notices reach everybody, also those whose address was entered by an administrator and never confirmed.

    What was done is done when its e-mail cannot be sent: the page says so, and the log without the address.
    """

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        try:
            super().send_mail(template_prefix, email, context)
        except (OSError, smtplib.SMTPException) as error:
            logger.error("e-mail %r not sent: %s", template_prefix, type(error).__name__)
            # The same for an address that nobody has an account with: it tells nothing about that.
            if current.request is not None:
                messages.warning(
                    current.request,
                    _("An e-mail could not be sent just now. If you are waiting for it, ask for it again later."),
                )

    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        known = email or EmailAddress.objects.get_primary_email(user) or user.email
        super().send_notification_mail(template_prefix, user, context, known)
