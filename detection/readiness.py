"""Whether this process lives, and whether it can do its work."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import dramatiq
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connection
from dramatiq import DramatiqError
from redis.exceptions import RedisError

from detection.engine.errors import ModelError
from detection.engine.registry import find_model
from detection.reports import card

logger = logging.getLogger(__name__)


def alive() -> dict[str, str]:
    """This process answers; whether database and broker do is another question."""
    return {"status": "ok", "version": settings.VERSION}


def checks() -> dict[str, str]:
    """``ok`` or ``failed`` for each thing that an analysis needs. Why something failed is in the log only."""
    return {name: _try(name, check) for name, check in CHECKS.items()}


def _try(name: str, check: Any) -> str:
    try:
        check()
    except (DatabaseError, InterfaceError, DramatiqError, RedisError, OSError, ModelError) as error:
        logger.warning("not ready, %s: %s", name, error)
        return "failed"
    return "ok"


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _broker() -> None:
    """In memory it is part of this process."""
    broker: Any = dramatiq.get_broker()
    if settings.RABBITMQ_URL:
        broker.ping()
        cache.get("ready")  # Redis, which still carries the events and counts for the limits
    elif not settings.EMBEDDED:
        broker.client.ping()


def _model() -> None:
    """The weights are there and are the ones that were measured."""
    path = card.served_model().path
    _hashed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _hashed(path: Path, changed: int) -> None:
    """Reading the whole file is worth it only when it has changed; a failure is not remembered."""
    del path, changed
    find_model(settings.ANALYSIS_MODEL or None, card.weights_folder())


CHECKS = {"database": _database, "broker": _broker, "model": _model}
