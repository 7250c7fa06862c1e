"""Refuses request bodies that are too large while they arrive.

Django's ASGI handler writes a whole body to disk before any view or upload handler sees it, so a limit inside
Django comes too late to protect the disk. This is a plain ASGI middleware in front of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils import translation
from django.utils.html import format_html
from django.utils.translation import gettext as _

from config import metrics, request_id
from config.languages import language_of
from detection.problems import FOR_PROGRAMS, Refused, outage

logger = logging.getLogger(__name__)

# ASGI, as Django's and Channels' own annotations have it.
Scope = MutableMapping[str, Any]
Event = Mapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

# What is still read (and thrown away) of a body that was refused, so that the browser, which sends before it
# listens, gets to read why. A client that sends more than this is cut off.
DRAIN_BYTES = 512 * 1024 * 1024
DRAIN_SECONDS = 30.0


class BodyLimit:
    """Answers 413 by Content-Length, or, where that is missing or untrue, by the bytes that arrive."""

    def __init__(self, app: Application, *, limit: int, limits: Mapping[str, int]) -> None:
        """``limits`` holds the exceptions from ``limit``, bytes by path."""
        self.app = app
        self.limit = limit
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self.limits.get(scope["path"], self.limit)
        headers = {name.lower(): value for name, value in scope["headers"]}
        if _declared_length(headers) > limit:
            # With "Expect: 100-continue" the client still waits for a word before it sends: nothing to drain.
            if b"expect" not in headers:
                await _drain(receive)
            await _refuse(scope, headers, limit, send)
            return
        counter = _Counter(receive, limit)
        full = None
        try:
            await self.app(scope, counter.receive, send)
        except OSError as error:
            # Of Django's copy of the body in the folder for temporary files: later it answers for itself.
            with translation.override(language_of(scope)):
                full = outage(error)
            if full is None:
                raise
            logger.error("a request was refused: %s", full.code)
        if (full or counter.exceeded) and counter.more:
            await _drain(receive)  # not above: with the error goes the copy, and there is room again
        if full:
            await _answer(scope, headers, full, send)
        elif counter.exceeded:
            await _refuse(scope, headers, limit, send)


class _Counter:
    """Counts what arrives, and tells the application that the client has gone once it is too much.

    Django then closes its temporary file and returns without an answer, so that the answer can be ours. It reads
    the body before it does anything else: no answer can have begun.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.exceeded = False
        self.more = True

    async def receive(self) -> Event:
        event = await self._receive()
        if event["type"] == "http.request":
            self._left -= len(event.get("body", b""))
            self.more = event.get("more_body", False)
            if self._left < 0:
                self.exceeded = True
                return {"type": "http.disconnect"}
        return event


def _declared_length(headers: Mapping[bytes, bytes]) -> int:
    try:
        return int(headers.get(b"content-length", b"0"))
    except ValueError:
        return 0  # the server counts for itself; so do we


async def _drain(receive: Receive) -> None:
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                event = await receive()
                if event["type"] != "http.request" or not event.get("more_body", False):
                    return
                left -= len(event.get("body", b""))
    except TimeoutError:
        return  # too slow a client: it is answered now and then cut off


async def _refuse(scope: Scope, headers: Mapping[bytes, bytes], limit: int, send: Send) -> None:
    with translation.override(language_of(scope)):
        detail = _("The request is larger than %(limit)s.") % {"limit": filesizeformat(limit)}
    await _answer(scope, headers, Refused("file_too_large", detail), send)


async def _answer(scope: Scope, headers: Mapping[bytes, bytes], refused: Refused, send: Send) -> None:
    name = request_id.begin(headers.get(request_id.HEADER.lower().encode(), b"").decode("latin1"))
    language = language_of(scope)
    with translation.override(language):
        if b"json" in headers.get(b"accept", b"") or scope["path"].startswith(FOR_PROGRAMS):
            kind, body = b"application/problem+json", json.dumps(refused.body()).encode()
        else:
            kind, body = b"text/html; charset=utf-8", _page(language, refused).encode()
    start = {
        "type": "http.response.start",
        "status": refused.status,
        "headers": [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"content-language", language.encode()),
            (b"x-content-type-options", b"nosniff"),
            (request_id.HEADER.lower().encode(), name.encode()),
            (b"connection", b"close"),
            *((header.lower().encode(), value.encode()) for header, value in refused.headers.items()),
            *_for_other_origins(headers),
        ],
    }
    metrics.count_request(scope.get("method"), "none", refused.status)  # Django's middleware does not see it
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _page(language: str, refused: Refused) -> str:
    large = refused.code == "file_too_large"
    return format_html(
        "<!DOCTYPE html><html lang={}><meta charset=utf-8><title>{}</title>"
        "<h1>{}</h1><p>{}</p><p><a href=/>{}</a></p></html>",
        language,
        _("Too large") if large else _("Not available"),
        _("This is too large") if large else _("Not available at the moment"),
        refused.detail,
        _("Back"),
    )


def _for_other_origins(headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Lets pages of the allowed origins read the refusal; Django's middleware for that is not asked any more."""
    origin = headers.get(b"origin", b"")
    allowed = origin.decode("latin1") in settings.CORS_ALLOWED_ORIGINS
    return [(b"access-control-allow-origin", origin), (b"vary", b"origin")] if allowed else []
