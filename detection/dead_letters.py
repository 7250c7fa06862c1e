"""Messages that were given up: written down here, looked at in the admin. Sending them again: ``redelivery``.

``config.recovery`` reports what Dramatiq gives up after its retries, the runner what takes its workers along.
"""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _
from dramatiq import Retry

from detection.models import Analysis, DeadLetter
from detection.problems import Refused

logger = logging.getLogger(__name__)

KEPT = timedelta(days=90)
LOST_WORKER = "WorkerLost"  # for an error that nobody survived to name


def record(
    *,
    actor: str,
    args: Sequence[Any],
    tries: int,
    error: BaseException | None,
    message_id: str = "",
) -> None:
    """Write down that a message is given up. ``error`` is what it failed with; None if no worker lived to say."""
    if message_id and DeadLetter.objects.filter(message_id=message_id).exists():
        return  # Dramatiq says it again and again while the broker is away
    about = _analysis(args)
    if isinstance(error, Retry) and about and Analysis.objects.filter(pk=about, status__in=Analysis.ACTIVE).exists():
        # Not a failure: its worker was restarted, or had no room, once too often. The row waits, the sweep sends it.
        logger.info("%s %s: its message is given up, another one will be sent: %s", actor, args, error)
        return
    values = {
        "message_id": message_id,
        "analysis_id": about,
        "tries": tries,
        "error": type(error).__name__ if error is not None else LOST_WORKER,
        "place": place_of(error),
        "at": timezone.now(),
    }
    with transaction.atomic():
        waiting = DeadLetter.objects.filter(actor=actor, args=list(args), state=DeadLetter.State.WAITING)
        if not waiting.update(given_up=F("given_up") + 1, **values):
            DeadLetter.objects.create(actor=actor, args=list(args), **values)
    logger.error("%s %s: given up after %d tries, %s at %s", actor, args, tries, values["error"], values["place"])


def _analysis(args: Sequence[Any]) -> uuid.UUID | None:
    """The analysis that a message is about, if it is about one that still exists."""
    try:
        about = uuid.UUID(str(args[0]))
    except (IndexError, ValueError):
        return None
    return Analysis.objects.filter(pk=about).values_list("pk", flat=True).first()


def place_of(error: BaseException | None) -> str:
    """Where in this program an error was raised, as ``file:line function``; empty if it was nowhere in it."""
    root = Path(settings.BASE_DIR)
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root) and "/.venv/" not in frame.filename]
    if not ours:
        return ""
    return f"{Path(ours[-1].filename).relative_to(root)}:{ours[-1].lineno} {ours[-1].name}"[:200]


def waiting() -> int:
    """How many nobody has looked at."""
    return DeadLetter.objects.filter(state=DeadLetter.State.WAITING).count()


def conclude(letter: DeadLetter, state: DeadLetter.State) -> None:
    """Somebody deals with it. Raises Refused (``conflict``) if somebody else did so before."""
    if not DeadLetter.objects.filter(pk=letter.pk, state=DeadLetter.State.WAITING).update(state=state):
        raise Refused("conflict", _("Somebody has dealt with this already."))


def forget_old() -> None:
    DeadLetter.objects.filter(at__lt=timezone.now() - KEPT).delete()
