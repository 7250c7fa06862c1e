"""What the privacy page says, out of the settings in force: so it is true on every site."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.template.defaultfilters import filesizeformat

from detection import open_access, quota, storage
from detection.reports.lifetimes import span
from detection.webhooks import delivery

CONSOLE = "django.core.mail.backends.console.EmailBackend"


def facts() -> dict[str, Any]:
    """What the template asks for. Lengths of time in words, in the reader's language."""
    return {
        "file_kept": span(settings.MEDIA_SECONDS) if settings.MEDIA_SECONDS else "",
        "file_most": span(settings.MEDIA_MAX_SECONDS) if settings.MEDIA_MAX_SECONDS else "",
        "pictures_kept": _days(settings.PICTURES_DAYS),
        "results_kept": _days(settings.RESULTS_DAYS) if settings.RESULTS_DAYS else "",
        "held": _days(settings.HOLD_DAYS),
        "receipts_kept": _days(settings.RECEIPT_DAYS),
        "half_sent_kept": _span(storage.ARRIVING),
        "counts_kept": _span(quota.KEPT),
        "webhooks_kept": _span(delivery.KEPT),
        "requests_kept": span(3600 * settings.IDEMPOTENCY_HOURS),
        "room": filesizeformat(settings.STORAGE_BYTES) if settings.STORAGE_BYTES else "",
        "open_kept": _span(open_access.LASTS) if settings.OPEN_PREDICT else "",
        "mail_server": "" if settings.EMAIL_BACKEND == CONSOLE else settings.EMAIL_HOST,
        "cookies": _cookies(),
        "https": settings.HTTPS,
    }


def _cookies() -> list[tuple[str, str, str]]:
    """Name, how long it lasts, and what it is for as a key of the template's."""
    return [
        (settings.SESSION_COOKIE_NAME, span(settings.SESSION_COOKIE_AGE), "session"),
        (settings.CSRF_COOKIE_NAME, span(settings.CSRF_COOKIE_AGE), "csrf"),
        (settings.LANGUAGE_COOKIE_NAME, span(settings.LANGUAGE_COOKIE_AGE), "language"),
    ]


def _span(length: timedelta) -> str:
    return span(round(length.total_seconds()))


def _days(number: int) -> str:
    return _span(timedelta(days=number))
