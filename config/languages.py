"""Which language somebody reads who does not speak through Django's middleware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, parse_cookie
from django.utils.translation import get_language_from_request


def language_of(scope: Mapping[str, Any]) -> str:
    """The language for an ASGI scope: the user's, then cookie, then Accept-Language, then the default, as for pages."""
    chosen = str(getattr(scope.get("user"), "language", ""))
    if chosen in dict(settings.LANGUAGES):
        return chosen
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    request = HttpRequest()
    request.COOKIES = parse_cookie(headers.get(b"cookie", ""))
    request.META["HTTP_ACCEPT_LANGUAGE"] = headers.get(b"accept-language", "")
    return get_language_from_request(request)
