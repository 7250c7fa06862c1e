"""What somebody chose: language, theme, what is told by e-mail."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import translation

from accounts.models import User


def language_for(user: User) -> str:
    """In which language to write to somebody who is not there to be asked."""
    return user.language if user.language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


def change(user: User, **chosen: Any) -> None:
    """Store what was chosen and nothing else: a password that is changed at the same moment shall not come back.

    Args:
        chosen: ``language`` (one of ``settings.LANGUAGES``, or empty for the one that the browser asks for), ``theme``,
            ``notify_reviews``, ``notify_analyses``; those that change.
    """
    if chosen:
        User.objects.filter(pk=user.pk).update(**chosen)
        user.refresh_from_db(fields=list(chosen))


def remember_language(user: User, **signal: Any) -> None:
    """Receiver of ``user_signed_up``: what somebody signed up in is what one writes to them in."""
    del signal
    language = (translation.get_language() or "").partition("-")[0]
    if language in dict(settings.LANGUAGES):
        change(user, language=language)
