"""How often something may be done, by user and by address. The figures are ``settings.RATE_LIMITS``.

django-ratelimit counts, in Django's cache: in memory where one process is all there is, in Redis where there are
several. Its decorator is not used, because API, pages and ``/predict`` must answer alike, with headers, and because
who calls is known only after authentication.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import ngettext
from django_ratelimit.core import get_usage
from redis.exceptions import RedisError

from detection.problems import Refused, refusal_response, wants_json

logger = logging.getLogger(__name__)

Group = Literal["uploads", "requests"]
# What watches a server must not be turned away.
FREE = frozenset({"/health", "/health/", "/ready", "/ready/", "/metrics"})


@dataclass(frozen=True, slots=True)
class Usage:
    """What is left of a limit until its window ends."""

    limit: int
    remaining: int
    reset: int  # seconds


def client_address(request: HttpRequest) -> str:
    """By the rule of ``VERIFRAME_TRUSTED_PROXIES``, as for sign-ins; ours where there is none."""
    return known_address(request) or "127.0.0.1"


def known_address(request: HttpRequest) -> str:
    """The same, for who is let in by it. Empty over a Unix socket, or if fewer proxies than that have added theirs."""
    try:
        return str(get_adapter(request).get_client_ip(request))
    except (PermissionDenied, ImproperlyConfigured):
        return ""


def spend(
    request: HttpRequest, group: Group, *, user: int | str | None = None, address: bool = True, cost: int = 1
) -> None:
    """Count something that is done ``cost`` times, for its user, its address or both.

    What is left of the tighter limit is noted on the request, for the answer's headers.

    Raises:
        Refused: ``too_many_requests``; then nothing is counted that would push the end further away.
    """
    try:
        if user is not None:
            _spend(request, group, "user", str(user), cost)
        if address:
            _spend(request, group, "address", client_address(request), cost)
    except (RedisError, OSError) as error:
        # Uploads are stored and sent later when Redis is away; a missing counter shall not stop them either.
        logger.warning("limits are not counted: %s", error)


def household(request: HttpRequest) -> str:
    """The address, or of IPv6 the /64 which one customer has all to himself."""
    address = client_address(request)
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


def _spend(request: HttpRequest, group: Group, whose: str, value: str, cost: int) -> None:
    rate = settings.RATE_LIMITS[group][whose]
    if rate is None:
        return

    def count(*, increment: bool) -> Usage | None:
        key = "ip" if whose == "address" else (lambda *_: value)
        found = get_usage(request, group=f"{group}.{whose}", key=key, rate=rate, increment=increment)
        # None: the cache has just forgotten the counter (RATELIMIT_FAIL_OPEN).
        return found and Usage(found["limit"], found["limit"] - found["count"], max(1, found["time_left"]))

    usage = count(increment=False)
    if usage is not None:
        # A batch larger than the limit could never be sent: it takes the whole of it. The day's quota still bounds it.
        cost = min(cost, usage.limit)
    if usage is not None and usage.remaining >= cost:
        for _number in range(cost):
            usage = count(increment=True)
    elif usage is not None:
        usage = Usage(usage.limit, -1, usage.reset)
    if usage is None:
        return
    _note(request, usage)
    if usage.remaining < 0:
        raise Refused("too_many_requests", _too_many(usage), retry_after=usage.reset)


def _too_many(usage: Usage) -> str:
    return ngettext(
        "That is too much at once. Try again in %(seconds)d second.",
        "That is too much at once. Try again in %(seconds)d seconds.",
        usage.reset,
    ) % {"seconds": usage.reset}


def _note(request: HttpRequest, usage: Usage) -> None:
    seen: Usage | None = getattr(request, "rate_limit", None)
    if seen is None or usage.remaining / usage.limit < seen.remaining / seen.limit:
        request.rate_limit = usage  # type: ignore[attr-defined]


class RateLimits(MiddlewareMixin):
    """Counts every request by address and, where a browser is signed in, by user; adds the headers.

    Whom a token belongs to is known only inside the API, which counts for it: ``api.throttling``.
    """

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:
        if request.path_info in FREE:
            return None
        try:
            spend(request, "requests", user=request.user.pk)
        except Refused as refused:
            return refused_page(request, refused)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        usage: Usage | None = getattr(request, "rate_limit", None)
        if usage is not None:
            response["X-RateLimit-Limit"] = str(usage.limit)
            response["X-RateLimit-Remaining"] = str(max(0, usage.remaining))
            response["X-RateLimit-Reset"] = str(usage.reset)
        return response


def refused_page(request: HttpRequest, refused: Refused) -> HttpResponseBase:
    """A 429 as the client likes it."""
    if wants_json(request):
        return refusal_response(refused)
    return refused.mark(render(request, "429.html", {"detail": refused.detail}, status=refused.status))
