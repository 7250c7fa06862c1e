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

from detection import serving
from detection.engine.errors import ModelError
from detection.engine.registry import ModelFile, sha256_of

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
    """The weights are there and are the ones that were measured: of each runtime, whichever a worker uses."""
    spec = serving.served()
    own = ModelFile(spec.path, spec.sha256)
    for file in {own, spec.tensorflow or own}:
        _hashed(file, _changed(file.path))


def _changed(path: Path) -> int:
    """When a file, or something in the folder of a SavedModel, was last written. Raises OSError if it is missing."""
    return max(part.stat().st_mtime_ns for part in (path, *path.rglob("*")))


@lru_cache(maxsize=4)
def _hashed(file: ModelFile, changed: int) -> None:
    """Reading whole files is worth it only when they have changed; a failure is not remembered."""
    del changed
    if sha256_of(file.path) != file.sha256:
        raise ModelError(f"{file.path.name} is not the file that was measured: its SHA-256 differs.")


CHECKS = {"database": _database, "broker": _broker, "model": _model}
