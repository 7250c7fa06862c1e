"""E-mail: plain text, in its reader's language."""

from __future__ import annotations

import logging
import smtplib
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils import translation

from accounts.models import User
from accounts.preferences import language_for

logger = logging.getLogger(__name__)


class NotSent(Exception):  # noqa: N818
    """An e-mail could not be handed over. Says what kind of error it was; the error itself may name the address."""


def is_confirmed(user: User) -> bool:
    """Whether the user's address is known to be theirs, so that what concerns nobody else may go there."""
    return EmailAddress.objects.filter(user=user, email__iexact=user.email, verified=True).exists()


def address_of(path: str) -> str:
    """A link for an e-mail; empty if the site does not know its own address (``VERIFRAME_SITE_URL``)."""
    return f"{settings.SITE_URL.rstrip('/')}{path}" if settings.SITE_URL else ""


def send(user: User, template: str, context: dict[str, Any], *, to: str = "") -> None:
    """Write to a user.

    Args:
        template: ``templates/mails/<template>.txt``; its first line is the subject.
        to: the address, if it is no longer the user's.

    Raises:
        NotSent
    """
    with translation.override(language_for(user)):
        text = render_to_string(f"mails/{template}.txt", {"user": user, **context})
    subject, _line, body = text.strip().partition("\n")
    subject = settings.ACCOUNT_EMAIL_SUBJECT_PREFIX + subject.strip()
    try:
        send_mail(subject, body.strip() + "\n", None, [to or user.email])
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(type(error).__name__) from None  # or logs would have the address
    logger.info("user %s: e-mail %r sent", user.pk, template)
