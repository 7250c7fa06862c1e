"""Fixtures of the webhooks' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network

import pytest
from django.conf import LazySettings

from accounts.models import User
from detection.models import WebhookEndpoint, all_events
from detection.webhooks import endpoints
from tests.receiver import Receiver


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Receiver]:
    """Somebody who listens, on an address that this site allows."""
    settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.1/32")]
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def webhook(owner: User, receiver: Receiver) -> WebhookEndpoint:
    """The owner's webhook, for all events."""
    return endpoints.create(user=owner, url=receiver.url, events=all_events())


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Callable) -> Callable:
    """``with committed():`` what follows a commit is done, as it would be outside a test's transaction."""
    return lambda: django_capture_on_commit_callbacks(execute=True)
