"""Telling a user by e-mail that an analysis has ended, if that was asked for on the account page."""

from __future__ import annotations

import logging
import uuid
from functools import partial

import dramatiq
from django.db import transaction
from dramatiq import DramatiqError
from redis.exceptions import RedisError

from accounts import mails
from detection.models import Analysis
from detection.reports import words

logger = logging.getLogger(__name__)

TOLD = (Analysis.Status.SUCCEEDED, Analysis.Status.FAILED)  # who cancels knows it already


@dramatiq.actor(queue_name="notices", time_limit=60_000, max_retries=5, min_backoff=5_000, max_backoff=3_600_000)
def tell_ended(analysis_id: str) -> None:
    """Write the e-mail, if its user still wants one. A message that comes twice writes twice."""
    row = Analysis.objects.select_related("upload__user").filter(pk=analysis_id, status__in=TOLD).first()
    if row is None:
        return  # deleted, or begun anew
    user = row.upload.user
    if not (user.is_active and user.notify_analyses and mails.is_confirmed(user)):
        return
    context = {
        "name": row.upload.name,
        "verdict": words.VERDICT_WORDS[row.verdict] if row.verdict else "",
        "url": mails.address_of(row.get_absolute_url()),
    }
    mails.send(user, "analysis_ended", context)


def record(analysis: Analysis) -> None:
    """Have the e-mail written once the transaction that ends the analysis is committed."""
    if analysis.upload.user.notify_analyses:
        transaction.on_commit(partial(_send, analysis.pk), robust=True)


def _send(analysis_id: uuid.UUID) -> None:
    """Without the broker there is no e-mail; the page tells it all the same."""
    try:
        tell_ended.send(str(analysis_id))
    except (DramatiqError, RedisError, OSError) as error:
        logger.warning("analysis %s: no e-mail about its end: %s", analysis_id, type(error).__name__)
