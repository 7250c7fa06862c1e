"""Refusals: what a client did wrong, with a stable code, in words, and as RFC 9457 problem details."""

from __future__ import annotations

import errno
from http import HTTPStatus
from typing import Any, TypedDict, TypeVar

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import TimeoutError as RedisSilent

from config import request_id

Page = TypeVar("Page", bound=HttpResponseBase)

PROBLEM_JSON = "application/problem+json"
FOR_PROGRAMS = ("/api/", "/predict", "/ready", "/health")  # what is below these is never answered with a page

# Clients rely on these words: add, never rename.
STATUS_BY_CODE: dict[str, int] = {
    "missing_file": 400,
    "empty_file": 400,
    "file_too_large": 413,
    "unsupported_type": 415,
    "content_mismatch": 415,
    "too_many_pixels": 413,
    "invalid_request": 400,
    "invalid_webhook_url": 400,
    "not_authenticated": 401,
    "invalid_token": 401,
    "permission_denied": 403,
    "csrf_failed": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "storage_full": 409,
    "idempotency_key_reused": 409,
    "idempotency_key_in_use": 409,
    "media_deleted": 410,
    "analysis_failed": 422,
    "too_many_requests": 429,
    "quota_exceeded": 429,
    "server_error": 500,
    "not_ready": 503,
    "unavailable": 503,
    "disk_full": 507,
}
COME_AGAIN = 30  # seconds; a database that was restarted is back by then
COME_LATER = 600  # seconds; what frees a disk runs hourly, or is a person
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Problem(TypedDict):
    """An error body; ``type`` is always about:blank because ``code`` says what a URI would."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str  # the one in the log


class Refused(Exception):  # noqa: N818
    """Something that was asked for is not done.

    Attributes:
        code: a key of ``STATUS_BY_CODE``.
        detail: a sentence for people.
        retry_after: seconds after which it may be asked for again, where that is known.
        more: further members of the error body.
    """

    def __init__(
        self, code: str, detail: str, *, retry_after: int | None = None, more: dict[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        self.more = more or {}

    @property
    def status(self) -> int:
        return STATUS_BY_CODE[self.code]

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def mark(self, response: Page) -> Page:
        """Put ``headers`` on a page that says the refusal in its own way."""
        for name, value in self.headers.items():
            response[name] = value
        return response

    def body(self) -> dict[str, Any]:
        return {**problem(self.code, self.detail), **self.more}


def problem(code: str, detail: str, *, status: int | None = None) -> Problem:
    number = status or STATUS_BY_CODE[code]
    return {
        "type": "about:blank",
        "title": HTTPStatus(number).phrase,
        "status": number,
        "detail": detail,
        "code": code,
        "request_id": request_id.current(),
    }


class StorageAwayError(OSError):
    """The bucket where files lie does not answer, or refuses what it should not. Later it may work."""


def disk_full(error: BaseException) -> bool:
    """Whether this was raised because a disk, ours or the database's, takes no more."""
    cause = error.__cause__  # what the database's driver raised
    return (
        (isinstance(error, OSError) and error.errno in NO_ROOM)
        or getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL"
        or getattr(cause, "sqlstate", "") == "53100"  # PostgreSQL's disk_full
    )


def outage(error: BaseException | None) -> Refused | None:
    """What to tell a client if it is not the program that failed but something that it needs; None: it is the program.

    ``unavailable`` while database, Redis or bucket are away, ``disk_full``.
    """
    if error is not None and disk_full(error):
        return Refused(
            "disk_full", _("This server has no room left for files. Try again later."), retry_after=COME_LATER
        )
    if isinstance(error, OperationalError | InterfaceError | RedisAway | RedisSilent | StorageAwayError):
        return Refused(
            "unavailable",
            _("A part of this server does not answer at the moment. Try again in half a minute."),
            retry_after=COME_AGAIN,
        )
    return None


def refusal_response(refused: Refused) -> JsonResponse:
    """A refusal as an answer, with all that it says."""
    return JsonResponse(refused.body(), status=refused.status, headers=refused.headers, content_type=PROBLEM_JSON)


def problem_response(code: str, detail: str) -> JsonResponse:
    body = problem(code, detail)
    return JsonResponse(body, status=body["status"], content_type=PROBLEM_JSON)


def wants_json(request: HttpRequest) -> bool:
    """Whether the client prefers JSON to a page. Browsers and a bare ``*/*`` get the page."""
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json" or (
        request.path_info.startswith(FOR_PROGRAMS)
    )
