"""Who calls the API."""

from __future__ import annotations

from rest_framework import authentication, exceptions
from rest_framework.request import Request


class CsrfFailed(exceptions.PermissionDenied):
    default_code = "csrf_failed"


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's session. Unlike the original it answers 401, not 403, to somebody who is not signed in."""

    def authenticate_header(self, request: Request) -> str:
        del request
        return "Session"

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied as error:
            raise CsrfFailed(str(error.detail)) from None
