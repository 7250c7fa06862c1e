"""Having something tried once more that the queue gave up (``dead_letters``)."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _
from dramatiq import ActorNotFound, DramatiqError
from redis.exceptions import RedisError

from accounts.models import User
from detection import dead_letters, services, tasks
from detection.models import Analysis, DeadLetter
from detection.problems import Refused


def send_again(*, letter: DeadLetter, by: User) -> None:
    """Have something that was given up tried once more, for staff.

    Raises Refused: ``conflict`` if there is nothing to try (any more), ``unavailable`` while the queue is away,
    ``media_deleted`` as ``retry``.
    """
    analysis, analyses = letter.analysis, letter.actor == tasks.analyse.actor_name
    with transaction.atomic():
        dead_letters.conclude(letter, DeadLetter.State.SENT)
        if analyses and analysis is not None and analysis.status == Analysis.Status.FAILED:
            services.retry(analysis=analysis, by=by)
        elif analyses and (analysis is None or not analysis.is_active):
            raise Refused("conflict", _("This analysis has ended, or was deleted: there is nothing to send."))
        else:
            _send_letter(letter)


def _send_letter(letter: DeadLetter) -> None:
    try:
        if letter.actor == tasks.analyse.actor_name:
            assert letter.analysis is not None
            services.send(letter.analysis.pk)
        else:
            tasks.analyse.broker.get_actor(letter.actor).send(*letter.args)
    except ActorNotFound:
        raise Refused("conflict", _("This version of the program does not know this task.")) from None
    except (DramatiqError, RedisError, OSError) as error:
        raise Refused("unavailable", _("The queue does not answer at the moment. Try again later.")) from error
