"""Refusals: what a client did wrong, with a stable code, in words, and as RFC 9457 problem details."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypedDict

from django.http import HttpRequest, JsonResponse

PROBLEM_JSON = "application/problem+json"

# Clients rely on these words: add, never rename.
STATUS_BY_CODE: dict[str, int] = {
    "missing_file": 400,
    "empty_file": 400,
    "file_too_large": 413,
    "unsupported_type": 415,
    "content_mismatch": 415,
    "too_many_pixels": 413,
    "invalid_request": 400,
    "not_authenticated": 401,
    "permission_denied": 403,
    "csrf_failed": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "server_error": 500,
}


class Problem(TypedDict):
    """An error body; ``type`` is always about:blank because ``code`` says what a URI would."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class Refused(Exception):  # noqa: N818
    """Something that was asked for is not done.

    Attributes:
        code: a key of ``STATUS_BY_CODE``.
        detail: a sentence for people.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

    @property
    def status(self) -> int:
        return STATUS_BY_CODE[self.code]


def problem(code: str, detail: str, *, status: int | None = None) -> Problem:
    number = status or STATUS_BY_CODE[code]
    return {
        "type": "about:blank",
        "title": HTTPStatus(number).phrase,
        "status": number,
        "detail": detail,
        "code": code,
    }


def problem_response(code: str, detail: str) -> JsonResponse:
    body = problem(code, detail)
    return JsonResponse(body, status=body["status"], content_type=PROBLEM_JSON)


def wants_json(request: HttpRequest) -> bool:
    """Whether the client prefers JSON to a page. Browsers and a bare ``*/*`` get the page."""
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json" or (
        request.path_info.startswith("/api/")
    )
