"""Questions that ``manage.py check`` asks about this installation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from detection import storage


def register_all() -> None:
    register(media_folder_is_usable, Tags.files)
    register(database_fits_workers, Tags.database)
    register(bucket_forgets, Tags.security, deploy=True)  # --deploy only: a server starts also while it is away


def media_folder_is_usable(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Uploads need a folder to go to; better known at start than at the first upload."""
    del app_configs, kwargs
    folder = Path(settings.MEDIA_ROOT)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return []
    return [
        Error(
            f"The folder for uploads cannot be written: {folder}",
            hint="Set VERIFRAME_MEDIA_ROOT to a folder that this process may write to.",
            id="veriframe.E001",
        )
    ]


def bucket_forgets(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What was deleted must be gone, which it is not from a bucket with versions."""
    del app_configs, kwargs
    try:
        keeps = storage.store().keeps_what_is_deleted()
    except OSError as error:
        return [Error(f"The bucket for uploads cannot be asked: {error}", id="veriframe.E002")]
    if not keeps:
        return []
    return [
        checks.Warning(
            "The bucket for uploads keeps versions, so that what was deleted can be brought back.",
            hint="Use a bucket without versioning, or have its older versions expire after a day.",
            id="veriframe.W002",
        )
    ]


def database_fits_workers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Several processes on one SQLite file work, but queue up behind each other's writes."""
    del app_configs, kwargs
    if settings.EMBEDDED or "sqlite" not in settings.DATABASES["default"]["ENGINE"]:
        return []
    return [
        checks.Warning(
            "REDIS_URL is set, so workers are processes of their own, but the database is SQLite.",
            hint="Set DATABASE_URL to a PostgreSQL database for more than one worker.",
            id="veriframe.W001",
        )
    ]
