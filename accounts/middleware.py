"""Who is there, for what is no part of the API: stored files and WebSockets; and what follows from it for pages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import sha256
from typing import Any

from allauth.usersessions.models import UserSession
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import IntegrityError
from django.http import HttpRequest
from django.utils import translation
from django.utils.deprecation import MiddlewareMixin
from redis.exceptions import RedisError

from accounts import sessions, tokens
from accounts.models import User

logger = logging.getLogger(__name__)

SEEN_EVERY = 300  # seconds; a read should not cost a write each time
Application = Callable[[Any, Any, Any], Awaitable[Any]]


def reader(request: HttpRequest) -> User | AnonymousUser:
    """The session's user, or, where a token is shown, only the token's: a bad token does not fall back."""
    header = request.headers.get("Authorization", "")
    if header.lower().startswith("token "):
        return tokens.user_of(header) or AnonymousUser()
    return request.user


class TokenOrBrowser:
    """ASGI, for WebSockets: whoever shows a token is its user; everybody else must be a browser on a page of ours.

    The check of the origin protects what browsers send by themselves: cookies, and the password of a proxy in front
    (``Authorization: Basic``), which leaves the session alone. ``Token`` they never send, so a program that shows one
    need not pretend to be a page.
    """

    def __init__(self, with_token: Application, browser: Application) -> None:
        self.with_token = with_token
        self.browser = browser

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> Any:
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin1")
        if not header.lower().startswith("token "):
            return await self.browser(scope, receive, send)
        user = await database_sync_to_async(tokens.user_of)(header)
        return await self.with_token({**scope, "user": user or AnonymousUser(), "by_token": True}, receive, send)


class OwnLanguage(MiddlewareMixin):
    """What a user chose goes before the cookie and before what the browser asks for."""

    def process_request(self, request: HttpRequest) -> None:
        language = getattr(request.user, "language", "")
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()


class SessionsSeen(MiddlewareMixin):
    """Notes when and from where a session was last seen, for the list in which its user can end it, and ends it.

    It ends ``SESSION_COOKIE_AGE`` after it was last noted here, and ``SESSION_LONGEST`` after the sign-in at the
    latest. allauth's own middleware would write at every request.
    """

    def process_request(self, request: HttpRequest) -> None:
        key = request.session.session_key
        if not key or not request.user.is_authenticated:
            return
        if sessions.is_over(request.session):
            logout(request)
            return
        try:
            # Hashed: whoever may list the cache's keys shall not find sessions there.
            if cache.add(f"accounts.seen.{sha256(key.encode()).hexdigest()}", 1, SEEN_EVERY):
                UserSession.objects.create_from_request(request)
                request.session.modified = True  # stored with a new end, in the cookie, too
        except (RedisError, OSError) as error:
            logger.warning("session not noted: %s", error)
        except IntegrityError:
            logger.debug("session not noted: its account was deleted in this moment")
        except (PermissionDenied, ImproperlyConfigured):
            logger.debug("session not noted: it has no address")  # over a Unix socket, see detection.limits
