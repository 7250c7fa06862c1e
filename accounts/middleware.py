"""Who is there, for what is no part of the API: stored files and WebSockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from accounts import tokens
from accounts.models import User

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
        return await self.with_token({**scope, "user": user or AnonymousUser()}, receive, send)
