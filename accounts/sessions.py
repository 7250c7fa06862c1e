"""Where users are signed in: rows that tell of it go when the session does."""

from __future__ import annotations

import time
from typing import Any

from allauth.account import app_settings
from allauth.account.internal.flows import reauthentication
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone

SIGNED_IN = "accounts.signed_in_at"
AT_ONCE = 500  # sessions


def note_sign_in(request: HttpRequest | None, **signal: Any) -> None:
    """Receiver of ``user_logged_in``."""
    del signal
    if request is not None:
        request.session[SIGNED_IN] = time.time()


def is_over(session: SessionBase) -> bool:
    """Whether it lasts longer than any may (``SESSION_LONGEST``), however busy its user is."""
    return time.time() - session.get(SIGNED_IN, time.time()) > settings.SESSION_LONGEST


def proved_recently(request: HttpRequest) -> bool:
    """Whether it is the user who sits there, and not somebody who found an open browser.

    Known for ``ACCOUNT_REAUTHENTICATION_TIMEOUT`` seconds after a sign-in or another proof. allauth counts only the
    latter, and would ask again for what was typed a moment ago.
    """
    since = time.time() - request.session.get(SIGNED_IN, 0)
    return since < app_settings.REAUTHENTICATION_TIMEOUT or reauthentication.did_recently_reauthenticate(request)


def forget_ended() -> None:
    """Remove sessions that ran out, and the addresses and browsers of all that are no more; see ``settings.JOBS``."""
    expired = Session.objects.filter(expire_date__lte=timezone.now())
    # Some at a time: what listens to deletions has each row loaded first.
    while keys := list(expired.values_list("pk", flat=True)[:AT_ONCE]):
        expired.filter(pk__in=keys).delete()
    alive = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    UserSession.objects.exclude(session_key__in=alive).delete()


def forget_this(request: HttpRequest | None, **signal: Any) -> None:
    """Receiver of ``user_logged_out``, which comes before the session is emptied."""
    del signal
    if request is not None and (key := request.session.session_key):
        UserSession.objects.filter(session_key=key).delete()
