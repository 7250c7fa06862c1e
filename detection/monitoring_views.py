"""Figures for Prometheus."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from config.metrics import permitted
from detection import limits
from detection.gauges import Everything


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """What this web server counts, and how the site stands. To everybody else it does not exist."""
    if not permitted(request.headers.get("Authorization", ""), _address(request)):
        raise Http404
    return HttpResponse(generate_latest(Everything()), content_type=CONTENT_TYPE_LATEST)


def _address(request: HttpRequest) -> str:
    """Of whom the request comes from, not of a proxy that passes on everybody's and that no setting speaks of."""
    if not settings.TRUSTED_PROXIES and ("X-Forwarded-For" in request.headers or "Forwarded" in request.headers):
        return ""
    return limits.known_address(request)
