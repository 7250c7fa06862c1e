"""A WebSocket ends with the session, the token or the right by which it was opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.conf import LazySettings
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts import roles, sockets, tokens
from accounts.models import User
from config import layer
from config.asgi import application
from detection import progress
from detection.models import Analysis
from tests import factories
from tests.detection.sockets import PATIENCE, Socket

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "another quiet river 9"


class Watcher:
    """A browser of the owner's with a socket on an analysis, and other things that the owner does meanwhile."""

    def __init__(self, user: User, analysis: Analysis) -> None:
        self.user, self.analysis = user, analysis
        self.client = Client()

    async def open(self) -> Socket:
        await in_thread(self.client.force_login, self.user)
        cookie = f"sessionid={self.client.cookies['sessionid'].value}".encode()
        return await self._open([(b"cookie", cookie), (b"origin", b"http://localhost:8000")])

    async def open_with_token(self, key: str) -> Socket:
        return await self._open([(b"authorization", f"Token {key}".encode())])

    async def _open(self, headers: list[tuple[bytes, bytes]]) -> Socket:
        socket = Socket(application, f"/ws/analyses/{self.analysis.pk}/", headers=headers)
        assert await socket.connect() == 0
        assert (await socket.receive())["type"] == "analysis.snapshot"
        return socket


async def in_thread(work: Callable, *args, **kwargs):
    """As the server does it: in a thread beside the loop that the sockets live on."""

    def run():
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    layer.set_server_loop(asyncio.get_running_loop())
    try:
        return await asyncio.to_thread(run)
    finally:
        layer.set_server_loop(None)


async def end_of(socket: Socket) -> int:
    """The code that the server closes it with; nothing may be told before."""
    answer = await socket.receive_output(PATIENCE)
    assert answer["type"] == "websocket.close", answer
    await socket.disconnect()
    return answer["code"]


async def news(socket: Socket, analysis: Analysis) -> dict:
    await in_thread(progress.publish, analysis.pk, {**progress.updated(analysis), "revision": 99})
    return await socket.receive()


@pytest.fixture
async def watcher(owner: User) -> Watcher:
    return Watcher(owner, await sync_to_async(factories.make_analysis)(owner))


def new_password(user: User) -> None:
    user.set_password(PASSWORD)
    user.save()


def shut_out(user: User) -> None:
    user.is_active = False
    user.save()


async def test_signing_out_everywhere_ends_every_socket(watcher: Watcher):
    first, second = await watcher.open(), await Watcher(watcher.user, watcher.analysis).open()
    await in_thread(watcher.client.get, "/health/")  # now it is in the list of sessions
    await in_thread(Session.objects.all().delete)
    assert [await end_of(socket) for socket in (first, second)] == [4404, 4404]


async def test_the_button_does_so_too(watcher: Watcher):
    socket = await watcher.open()
    answer = await in_thread(watcher.client.post, "/accounts/sessions/end-all/")
    assert answer.status_code == 302
    assert await end_of(socket) == 4404


async def test_signing_out_here_leaves_the_other_browser_alone(watcher: Watcher):
    here, there = await watcher.open(), await Watcher(watcher.user, watcher.analysis).open()
    await in_thread(watcher.client.post, "/accounts/logout/")
    assert await end_of(here) == 4404
    assert (await news(there, watcher.analysis))["revision"] == 99
    await there.disconnect()


@pytest.mark.parametrize("what", [new_password, shut_out])
async def test_a_new_password_and_a_closed_account_end_it(watcher: Watcher, what: Callable[[User], None]):
    socket = await watcher.open()
    await in_thread(what, watcher.user)
    assert await end_of(socket) == 4404


async def test_a_sign_in_elsewhere_does_not(watcher: Watcher):
    socket = await watcher.open()
    await (await Watcher(watcher.user, watcher.analysis).open()).disconnect()
    assert (await news(socket, watcher.analysis))["revision"] == 99
    await socket.disconnect()


async def test_a_revoked_token_ends_its_socket(watcher: Watcher):
    token, key = await in_thread(tokens.issue, user=watcher.user, name="nightly", lifetime=None)
    socket = await watcher.open_with_token(key)
    await in_thread(tokens.revoke, user=watcher.user, public_id=token.public_id)
    assert await end_of(socket) == 4404


async def test_who_is_no_reviewer_any_more_sees_nothing_more(owner: User):
    result = await sync_to_async(factories.make_result)(owner)
    reviewer = await sync_to_async(factories.make_user)("reviewer@example.org")
    await in_thread(roles.set_role, reviewer, roles.Role.REVIEWER)
    socket = await Watcher(reviewer, result).open()
    await in_thread(roles.set_role, reviewer, roles.Role.USER)
    assert await end_of(socket) == 4404


async def test_what_ends_without_a_word_is_noticed_soon(watcher: Watcher, monkeypatch: pytest.MonkeyPatch):
    """A session that runs out, rows that are changed in bulk, a message that Redis has lost."""
    monkeypatch.setattr(sockets, "ASK_EVERY", 0.05)
    socket = await watcher.open()
    await in_thread(Session.objects.update, expire_date=timezone.now() - timedelta(seconds=1))
    assert await end_of(socket) == 4404


async def test_a_session_that_is_over_opens_none(watcher: Watcher, settings: LazySettings):
    settings.SESSION_LONGEST = -1
    await in_thread(watcher.client.force_login, watcher.user)
    headers = [
        (b"cookie", f"sessionid={watcher.client.cookies['sessionid'].value}".encode()),
        (b"origin", b"http://localhost:8000"),
    ]
    assert await Socket(application, f"/ws/analyses/{watcher.analysis.pk}/", headers=headers).connect() == 4404


async def test_after_the_end_nothing_is_told(watcher: Watcher):
    socket = await watcher.open()
    await in_thread(shut_out, watcher.user)
    await in_thread(progress.publish, watcher.analysis.pk, {**progress.updated(watcher.analysis), "revision": 99})
    assert await end_of(socket) == 4404
