"""Messages that workers act on. Actors take an id and are safe to run twice."""

from __future__ import annotations

import uuid

import dramatiq
from django.conf import settings

from detection.notices import tell_ended
from detection.review.notices import tell_reviewed
from detection.webhooks.delivery import deliver

# The others live beside what they do; workers find them because they are imported here.
__all__ = ["analyse", "deliver", "send_analysis", "tell_ended", "tell_reviewed"]

# Two queues, so that no picture waits behind a video that takes half an hour; detection.workers has who works on them.
IMAGES, VIDEOS = "images", "videos"


@dramatiq.actor(
    queue_name=VIDEOS,
    time_limit=settings.ANALYSIS_TIME_LIMIT * 1000,  # until the runner knows what is to be done, and sets its own
    # The runner stores every outcome of the analysis itself. What still escapes is a worker that is told to stop,
    # a database that went away or a full disk: worth another try soon, and after that the sweeper's business.
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


# Known to every worker, like the queue that the actor names.
analyse.broker.declare_queue(IMAGES)


def send_analysis(analysis_id: uuid.UUID, *, is_image: bool) -> None:
    """Put an analysis into its queue. Raises what the broker raises when it is away."""
    message = analyse.message(str(analysis_id))
    if is_image:
        message = message.copy(queue_name=IMAGES)
    analyse.broker.enqueue(message)
