"""The limits of ``detection.limits`` where the API is entered: only here it is known whose token it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from detection import limits

if TYPE_CHECKING:
    from rest_framework.views import APIView  # which imports this module, by the settings


class TokenRequests(BaseThrottle):
    """Every request with a token. Those of a signed-in browser are counted by the middleware, as on pages."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Raises Refused, which says more than False."""
        del view
        if request.auth is not None:
            limits.spend(request._request, "requests", user=request.user.pk, address=False)
        return True


class Uploads(BaseThrottle):
    """Everything that begins an analysis or is work for reviewers, and what takes it back."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        del view
        if request.method not in SAFE_METHODS:
            http = request._request
            # People without an account share one; each of them has as much as a user.
            limits.spend(http, "uploads", user=request.user.pk or f"nobody at {limits.household(http)}")
        return True
