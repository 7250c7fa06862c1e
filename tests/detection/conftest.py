"""Fixtures of the Django part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dramatiq
import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.test import AsyncClient, Client

from accounts.models import User
from tests import factories


@pytest.fixture(autouse=True)
def media_root(settings: LazySettings, tmp_path: Path) -> Path:
    """An empty folder for uploads."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    return settings.MEDIA_ROOT


@pytest.fixture(autouse=True)
def _quick_passwords(settings: LazySettings) -> None:
    """The real hash is slow on purpose; what it does is Django's to test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    """Messages and cached attempt counters of one test are none of the next one's business."""
    yield
    dramatiq.get_broker().flush_all()
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
    """The ids in the messages that wait in the queue."""

    def read() -> list[str]:
        queue = dramatiq.get_broker().queues["analyses"]
        return [dramatiq.Message.decode(data).args[0] for data in list(queue.queue)]

    return read


@pytest.fixture
def stored(media_root: Path) -> Callable[[], list[str]]:
    """Every file under the media root, by its relative path."""

    def read() -> list[str]:
        return sorted(str(p.relative_to(media_root)) for p in media_root.rglob("*") if p.is_file())

    return read
