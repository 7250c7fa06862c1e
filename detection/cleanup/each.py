"""Many small deletions, of which one that fails does not keep the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

logger = logging.getLogger(__name__)


def each(things: Iterable[Any], act: Callable[[Any], object], *, dry_run: bool) -> int:
    """Do it to each. Returns to how many it was done, or, in a dry run, to how many it would be."""
    done = 0
    for thing in list(things):
        try:
            done += dry_run or act(thing) is not False
        except Exception:
            logger.exception("clean-up of %s failed, the next one will try again", thing)
    return done
