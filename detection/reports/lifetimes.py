"""Until when things are kept: as the API writes it, and in words."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from detection import retention
from detection.models import Analysis

MINUTE, HOUR, DAY = 60, 3600, 86400


def written(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


def file_due(analysis: Analysis) -> str | None:
    """When the file goes; None while it is analysed, and once it is gone."""
    upload = analysis.upload
    if upload.media_deleted_at is not None or analysis.is_active:
        return None
    return written(retention.file_due(upload))


def span(seconds: int) -> str:
    """A length of time in words, in the largest unit that fits it exactly; minutes at least."""
    for unit, words in (
        (DAY, lambda number: ngettext("%(number)d day", "%(number)d days", number)),
        (HOUR, lambda number: ngettext("%(number)d hour", "%(number)d hours", number)),
    ):
        if seconds >= unit and seconds % unit == 0:
            return words(seconds // unit) % {"number": seconds // unit}
    number = round(seconds / MINUTE)
    return ngettext("%(number)d minute", "%(number)d minutes", number) % {"number": number}


def after_result(seconds: int) -> str:
    """How long after the result a file goes, as a choice."""
    if seconds == 0:
        return _("Delete it as soon as the result is there")
    return _("%(span)s after the result") % {"span": span(seconds)}
