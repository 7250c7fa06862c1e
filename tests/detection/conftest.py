"""Fixtures of the Django part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import dramatiq
import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.db import connection
from django.test import AsyncClient, Client

from accounts.models import User
from detection import tasks
from detection.models import AuditEntry
from tests import factories


@pytest.fixture(autouse=True)
def media_root(settings: LazySettings, tmp_path: Path) -> Path:
    """An empty folder for uploads."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    return settings.MEDIA_ROOT


@pytest.fixture(autouse=True)
def models_dir(settings: LazySettings, tmp_path: Path) -> Path:
    """Where models are installed; there are none."""
    settings.MODELS_DIR = tmp_path / "models"
    return settings.MODELS_DIR


@pytest.fixture(autouse=True)
def _quick_passwords(settings: LazySettings) -> None:
    """The real hash is slow on purpose; what it does is Django's to test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    """Messages and cached attempt counters of one test are none of the next one's business."""
    yield
    broker = dramatiq.get_broker()
    broker.flush_all()
    for queue in broker.queues.values():
        while queue.unfinished_tasks:  # of a worker that was stopped at its work: nobody else can join this queue
            queue.task_done()
    cache.clear()


@pytest.fixture
def owner(db: None) -> User:
    return factories.make_user("owner@example.org")


@pytest.fixture
def stranger(db: None) -> User:
    return factories.make_user("stranger@example.org")


@pytest.fixture
def owner_client(client: Client, owner: User) -> Client:
    client.force_login(owner)
    client.get("/health/")  # the first request of a session is noted, which is no other test's to count
    return client


@pytest.fixture
def async_client_of() -> Callable[[User], AsyncClient]:
    """A client that speaks ASGI, which streamed files need."""

    def make(user: User) -> AsyncClient:
        client = AsyncClient()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def queued() -> Callable[[], list[str]]:
    """The ids in the messages that wait, those of pictures first."""

    def read() -> list[str]:
        queues = dramatiq.get_broker().queues
        waiting = [data for name in (tasks.IMAGES, tasks.VIDEOS) for data in list(queues[name].queue)]
        return [dramatiq.Message.decode(data).args[0] for data in waiting]

    return read


@pytest.fixture
def stored(media_root: Path) -> Callable[[], list[str]]:
    """Every file under the media root, by its relative path."""

    def read() -> list[str]:
        return sorted(str(p.relative_to(media_root)) for p in media_root.rglob("*") if p.is_file())

    return read


@pytest.fixture(autouse=True)
def _the_log_may_be_emptied(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test with real transactions every table is emptied; the log of acts refuses that, as it should."""
    marker = request.node.get_closest_marker("django_db")
    if marker is None or not marker.kwargs.get("transaction"):
        yield
        return
    request.getfixturevalue("transactional_db")  # so that this is undone before that empties the tables
    on_postgresql = connection.vendor == "postgresql"
    if on_postgresql:
        _guard_against_truncating("ENABLE")
    yield
    if AuditEntry.objects.exists():
        guard = import_module("detection.migrations.0006_review")
        with connection.schema_editor() as editor:
            guard.allow(None, editor)
            editor.execute("DELETE FROM detection_auditentry")
            guard.forbid(None, editor)
    if on_postgresql:  # where tables are emptied by truncating them, those without rows, too
        _guard_against_truncating("DISABLE")


def _guard_against_truncating(switch: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE detection_auditentry {switch} TRIGGER audit_no_truncate")
