"""Telling a user by e-mail that reviewers have decided. The page and the webhook tell it, too."""

from __future__ import annotations

import logging
import uuid

import dramatiq
from dramatiq import DramatiqError
from redis.exceptions import RedisError

from accounts import mails
from detection.models import Analysis
from detection.reports import words

logger = logging.getLogger(__name__)


@dramatiq.actor(queue_name="notices", time_limit=60_000, max_retries=5, min_backoff=5_000, max_backoff=3_600_000)
def tell_reviewed(analysis_id: str) -> None:
    """Write the e-mail, if its user wants one. A message that comes twice writes twice: rare, and better than none."""
    row = Analysis.objects.select_related("upload__user").filter(pk=analysis_id).first()
    if row is None or not row.verdict or not row.reviewed_verdict:
        return  # deleted, or analysed anew
    user = row.upload.user
    if not (user.is_active and user.notify_reviews and mails.is_confirmed(user)):
        return
    context = {
        "name": row.upload.name,
        "verdict": words.HUMAN_WORDS[row.reviewed_verdict],
        "model_verdict": words.VERDICT_WORDS[row.verdict],
        "url": mails.address_of(row.get_absolute_url()),
    }
    mails.send(user, "reviewed", context)


def send(analysis_id: uuid.UUID) -> None:
    """Put the message into the queue. Without the broker there is no e-mail; page and webhook tell it all the same."""
    try:
        tell_reviewed.send(str(analysis_id))
    except (DramatiqError, RedisError, OSError) as error:
        logger.warning("analysis %s: no e-mail about its review: %s", analysis_id, type(error).__name__)
