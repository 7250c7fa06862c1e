"""Messages that workers act on. Actors take an id and are safe to run twice."""

from __future__ import annotations

import uuid

import dramatiq
from django.conf import settings

from detection.notices import tell_ended
from detection.review.notices import tell_reviewed
from detection.webhooks.delivery import deliver

# The others live beside what they do; workers find them because they are imported here.
__all__ = ["analyse", "deliver", "tell_ended", "tell_reviewed"]


@dramatiq.actor(
    queue_name="analyses",
    time_limit=settings.ANALYSIS_TIME_LIMIT * 1000,
    # The runner stores every outcome of the analysis itself. What still escapes is a worker that is told to stop
    # or a database that went away: worth another try soon, and after that the sweeper's business.
    max_retries=3,
    min_backoff=1_000,
    max_backoff=60_000,
    notify_shutdown=True,  # hand the work back instead of holding up the shutdown
)
def analyse(analysis_id: str) -> None:
    """Run one analysis, unless somebody else does."""
    # The one import inside a function, on purpose: the web process imports this module to send messages and must
    # not load OpenCV, PyAV and LiteRT, which the runner needs.
    from detection import runner  # noqa: PLC0415

    runner.run(uuid.UUID(analysis_id))
