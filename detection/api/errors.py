"""Errors of the API as RFC 9457 problem details."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from detection.api.authentication import CsrfFailed
from detection.problems import PROBLEM_JSON, Refused, outage, problem

logger = logging.getLogger(__name__)

CODE_BY_KIND: dict[type[Exception], str] = {
    CsrfFailed: "csrf_failed",
    exceptions.AuthenticationFailed: "invalid_token",  # NotAuthenticated, which is none at all, is another class
}
CODE_BY_STATUS = {
    400: "invalid_request",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "invalid_request",
    415: "invalid_request",
}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. What it does not know becomes the 500 of ``detection.views.server_error``."""
    if isinstance(error, Refused):
        return Response(error.body(), status=error.status, headers=error.headers, content_type=PROBLEM_JSON)
    if (away := outage(error)) is not None:
        # DRF logs nothing of what it has an answer to.
        logger.error("%s: %s", away.code, error, exc_info=error)
        set_rollback()
        return handle(away, context)
    answer = exception_handler(error, context)
    if answer is None:
        return None
    by_status = CODE_BY_STATUS.get(answer.status_code, "invalid_request")
    code = next((code for kind, code in CODE_BY_KIND.items() if isinstance(error, kind)), by_status)
    return _respond(code, _detail(error), status=answer.status_code, headers=dict(answer.headers))


def _detail(error: Exception) -> str:
    if isinstance(error, Http404):
        return _("There is nothing here, or it is not yours.")
    if isinstance(error, PermissionDenied):
        return _("You may not do this.")
    assert isinstance(error, exceptions.APIException)
    return _first(error.detail)


def _first(detail: Any) -> str:
    """Of several things that are wrong, or of a field's, the first, in words."""
    if isinstance(detail, dict):
        name, found = next(iter(detail.items()))
        return f"{name}: {_first(found)}"
    return _first(detail[0]) if isinstance(detail, list) else str(detail)


def _respond(code: str, detail: str, *, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    body = problem(code, detail, status=status)
    kept = {
        name: value for name, value in (headers or {}).items() if name in {"WWW-Authenticate", "Allow", "Retry-After"}
    }
    return Response(body, status=body["status"], headers=kept, content_type=PROBLEM_JSON)
