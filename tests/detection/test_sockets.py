"""News over the WebSocket: a snapshot first, then every change, none twice, none lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from accounts.models import User
from config import layer
from config.asgi import application
from detection import progress, runner, selectors, services
from detection.engine import media
from detection.models import Analysis
from tests import factories
from tests.detection.sockets import Socket, connect
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db(transaction=True)


async def as_worker(work: Callable[[], None]) -> None:
    """Do it in a thread of its own beside the server's loop, as `manage.py serve` does."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    layer.set_server_loop(asyncio.get_running_loop())
    try:
        await asyncio.to_thread(run)
    finally:
        layer.set_server_loop(None)


async def opened(user: User, analysis: Analysis) -> Socket:
    socket = connect(user, f"/ws/analyses/{analysis.pk}/")
    assert await socket.connect() == 0
    return socket


async def test_the_snapshot_says_where_things_stand(owner: User):
    analysis = await sync_to_async(factories.make_analysis)(
        owner, status="running", stage="scoring", frames_done=3, frames_total=12, points=[[0.0, 0.1], [0.5, 0.9]]
    )
    socket = await opened(owner, analysis)
    assert await socket.receive() == {
        "type": "analysis.snapshot",
        "id": str(analysis.pk),
        "revision": 0,
        "status": "running",
        "stage": "scoring",
        "percent": 25,
        "frames_done": 3,
        "frames_total": 12,
        "eta_seconds": None,
        "verdict": None,
        "score": None,
        "error": None,
        "points": [[0.0, 0.1], [0.5, 0.9]],
    }
    await socket.disconnect()


async def test_a_run_is_heard_from_beginning_to_end(owner: User, monkeypatch):
    monkeypatch.setattr(runner, "WRITE_EVERY", 0.0)
    analysis = await sync_to_async(factories.make_analysis)(owner)
    socket = await opened(owner, analysis)
    assert (await socket.receive())["status"] == "queued"
    await as_worker(lambda: runner.run(analysis.pk, engine=FakePipeline(frames=4)))
    messages = await socket.until_end()
    points = [point for message in messages if message["type"] == "analysis.scored" for point in message["points"]]
    assert points == [[0.0, 0.2], [0.4, 0.4], [0.8, 0.6], [1.2, 0.8]]
    assert (messages[-1]["type"], messages[-1]["verdict"], messages[-1]["percent"]) == (
        "analysis.updated",
        "manipulated",
        100,
    )
    assert await socket.receive_nothing()
    await socket.disconnect()


@pytest.mark.parametrize("late", [0, 1, 2, 3])
async def test_whoever_comes_in_the_middle_misses_nothing_and_gets_nothing_twice(owner: User, monkeypatch, late: int):
    """The snapshot is taken between two writes; its points and the later ones together are all points."""
    monkeypatch.setattr(runner, "WRITE_EVERY", 0.0)
    analysis = await sync_to_async(factories.make_analysis)(owner)
    sockets: list[Socket] = []

    async def join() -> None:
        sockets.append(await opened(owner, analysis))

    def between(frame: int) -> None:
        if frame == late:
            asyncio.run_coroutine_threadsafe(join(), loop).result(timeout=20)

    loop = asyncio.get_running_loop()
    await as_worker(lambda: runner.run(analysis.pk, engine=FakePipeline(frames=4, between=between)))
    messages = await sockets[0].until_end()
    assert messages[0]["type"] == "analysis.snapshot"
    points = [point for message in messages for point in message.get("points", [])]
    assert points == [[0.0, 0.2], [0.4, 0.4], [0.8, 0.6], [1.2, 0.8]]
    await sockets[0].disconnect()


async def test_an_event_that_the_snapshot_already_holds_is_not_repeated(owner: User, monkeypatch):
    """It was sent after the consumer joined its group and before the consumer read the row."""
    analysis = await sync_to_async(factories.make_analysis)(owner, status="running", revision=5)
    find = selectors.find_analysis

    def changed_before_read(user, analysis_id, **how):
        Analysis.objects.filter(pk=analysis_id).update(revision=6, frames_done=1, frames_total=2)
        progress.publish(analysis_id, progress.updated(Analysis.objects.get(pk=analysis_id)))
        return find(user, analysis_id, **how)

    monkeypatch.setattr(selectors, "find_analysis", changed_before_read)
    socket = await opened(owner, analysis)
    assert (await socket.receive())["percent"] == 50
    assert await socket.receive_nothing()
    await socket.disconnect()


async def test_cancel_and_retry_are_heard(owner: User):
    analysis = await sync_to_async(factories.make_analysis)(owner)
    socket = await opened(owner, analysis)
    await socket.receive()
    await sync_to_async(services.cancel)(analysis=analysis)
    assert (await socket.receive())["status"] == "cancelled"
    await sync_to_async(services.retry)(analysis=analysis)
    assert (await socket.receive())["status"] == "queued"
    await socket.disconnect()


async def test_deleting_a_running_analysis_ends_the_watching(owner: User):
    analysis = await sync_to_async(factories.make_analysis)(owner, status="running", revision=9)
    socket = await opened(owner, analysis)
    await socket.receive()
    await sync_to_async(services.delete)(analysis=analysis)
    assert (await socket.receive())["status"] == "cancelled"
    await socket.disconnect()


async def test_what_a_client_sends_is_ignored(owner: User):
    analysis = await sync_to_async(factories.make_analysis)(owner)
    socket = await opened(owner, analysis)
    await socket.receive()
    await socket.send(text="{ this is no JSON")
    await socket.send(bytes=b"\x00")
    assert await socket.receive_nothing()
    await socket.disconnect()


async def test_pages_of_other_sites_cannot_connect(owner: User, async_client_of: Callable):
    """The whole application: session cookie and origin."""
    analysis = await sync_to_async(factories.make_analysis)(owner)
    client = await sync_to_async(async_client_of)(owner)
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()
    path = f"/ws/analyses/{analysis.pk}/"
    for origin, welcome in [(b"http://localhost:8000", True), (b"http://evil.example", False)]:
        socket = Socket(application, path, headers=[(b"cookie", cookie), (b"origin", origin)])
        assert (await socket.connect() == 0) is welcome
        if welcome:
            await socket.disconnect()


@pytest.mark.parametrize(
    ("cookie", "accepted", "begins"),
    [
        ("", b"", "The video is"),
        ("", b"de", "Das Video ist"),
        ("; django_language=de", b"en", "Das Video ist"),
        ("; django_language=en", b"de", "The video is"),
    ],
)
async def test_news_come_in_the_language_of_the_page(
    owner: User, async_client_of: Callable, cookie: str, accepted: bytes, begins: str
):
    """A worker knows no reader, so each socket translates for its own."""
    failed = {"status": "failed", "error_code": "unreadable_media", "error_message": media._DAMAGED}
    analysis = await sync_to_async(factories.make_analysis)(owner, **failed)
    client = await sync_to_async(async_client_of)(owner)
    cookies = f"sessionid={client.cookies['sessionid'].value}{cookie}".encode()
    headers = [(b"cookie", cookies), (b"origin", b"http://localhost:8000"), (b"accept-language", accepted)]
    socket = Socket(application, f"/ws/analyses/{analysis.pk}/", headers=headers)
    assert await socket.connect() == 0
    assert (await socket.receive())["error"]["message"].startswith(begins)
    await sync_to_async(progress.publish)(analysis.pk, {**progress.updated(analysis), "revision": 99})
    assert (await socket.receive())["error"]["message"].startswith(begins)
    await socket.disconnect()
