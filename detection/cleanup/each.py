"""Many small deletions, of which one that the database or the disk refuses does not keep the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.db import DatabaseError

logger = logging.getLogger(__name__)


def each(things: Iterable[Any], act: Callable[[Any], object], *, dry_run: bool) -> int:
    """Do it to each. Returns to how many it was done, or, in a dry run, to how many it would be."""
    done = 0
    for thing in list(things):
        try:
            done += dry_run or act(thing) is not False
        except (DatabaseError, OSError):  # this row is locked, that file cannot be removed; anything else is a bug
            logger.exception("clean-up of %s failed, the next one will try again", thing)
    return done
