"""Reviewers on the sockets of cases: with a browser's session, not with a token."""

from __future__ import annotations

import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.urls import re_path

from accounts import tokens
from accounts.middleware import TokenOrBrowser
from accounts.models import User
from detection.consumers import NotFoundConsumer
from detection.models import Analysis, AuditEntry
from detection.review import services
from detection.routing import websocket_urlpatterns
from tests import factories
from tests.detection.review.conftest import make_reviewer
from tests.detection.sockets import Socket, connect

pytestmark = pytest.mark.django_db(transaction=True)


@database_sync_to_async
def people() -> tuple[User, Analysis, Analysis]:
    owner = factories.make_user()
    running = factories.make_analysis(owner)
    services.dispute(analysis=factories.make_result(owner), category="other")
    return make_reviewer(), factories.make_result(owner), running


async def test_reviewers_watch_what_there_is_to_review() -> None:
    reviewer, result, running = await people()
    socket = connect(reviewer, f"/ws/analyses/{result.pk}/")
    assert await socket.connect() == 0
    assert (await socket.receive())["id"] == str(result.pk)
    await socket.disconnect()
    assert await connect(reviewer, f"/ws/analyses/{running.pk}/").connect() == 4404
    assert await noted() == [("reviewer", "read", str(result.pk))]


async def test_an_owner_watches_without_a_note() -> None:
    _reviewer, result, _running = await people()
    socket = connect(await owner_of(result), f"/ws/analyses/{result.pk}/")
    assert await socket.connect() == 0
    await socket.disconnect()
    assert await noted() == []


@database_sync_to_async
def owner_of(analysis: Analysis) -> User:
    return Analysis.objects.get(pk=analysis.pk).upload.user


@database_sync_to_async
def noted() -> list[tuple[str, ...]]:
    return list(AuditEntry.objects.exclude(action="dispute").values_list("role", "action", "object_id"))


async def test_a_reviewers_token_is_for_ones_own() -> None:
    reviewer, result, _running = await people()
    _token, key = await database_sync_to_async(tokens.issue)(user=reviewer, name="mine", lifetime=None)
    nobody = URLRouter([re_path("", NotFoundConsumer.as_asgi())])
    application = TokenOrBrowser(URLRouter(websocket_urlpatterns), nobody)
    header = [(b"authorization", f"Token {key}".encode())]
    assert await Socket(application, f"/ws/analyses/{result.pk}/", headers=header).connect() == 4404
