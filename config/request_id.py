"""One name for each request: in the log, in the answer's ``X-Request-ID`` and in error bodies.

django-guid was weighed: it knows nothing of what happens before Django (``config.body_limit``), and the rest of it is
what stands here.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

HEADER = "X-Request-ID"
# What a client or a proxy may call its own request: nothing that could forge a line of the log.
ACCEPTABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """The request that this code works for, also in a worker; empty in a command, and between two messages."""
    return _current.get()


def begin(wanted: str = "") -> str:
    """A new request has come; ``wanted`` is what it calls itself. Returns what it is called."""
    name = wanted if ACCEPTABLE.fullmatch(wanted) else uuid.uuid4().hex
    # Never reset: Django writes the log's line about a refusal after the last middleware. Each request has a context
    # of its own, and the next one in a reused thread begins with this call.
    _current.set(name)
    return name


def end() -> None:
    """What follows belongs to no request; for threads that are used again."""
    _current.set("")


@sync_and_async_middleware
def middleware(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            name = begin(request.headers.get(HEADER, ""))
            response: HttpResponseBase = await get_response(request)
            response[HEADER] = name
            return response

        return answer_async  # type: ignore[return-value]

    def answer(request: HttpRequest) -> HttpResponseBase:
        name = begin(request.headers.get(HEADER, ""))
        response = get_response(request)
        response[HEADER] = name
        return response

    return answer


class LogFilter(logging.Filter):
    """Gives every record ``request_id``, for the log's format."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current() or "-"
        return True
