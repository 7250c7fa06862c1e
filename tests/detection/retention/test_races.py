"""Clean-up, analysis, download and deletion at the same moment: no orphan, no error to a user.

On PostgreSQL, in threads of their own, with a barrier in front of them and many rounds: whoever comes first, the end
must be one that makes sense.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.test import Client
from django.utils import timezone

from detection import cleanup, retention, runner, services
from detection.models import Analysis, DeletionReceipt, Upload
from detection.problems import Refused
from tests import factories
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 6


def at_once(*acts: Callable[[], object]) -> list[BaseException]:
    """Run them in threads that start together. Returns what was raised, refusals aside: those are answers."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> None:
        barrier.wait()
        in_thread(act)

    with ThreadPoolExecutor(len(acts)) as pool:
        raised = [future.exception(timeout=120) for future in [pool.submit(run, act) for act in acts]]
    return [error for error in raised if error is not None and not isinstance(error, Refused)]


def due(analysis: Analysis) -> Analysis:
    """Its file's and pictures' time has come."""
    past = timezone.now() - timedelta(seconds=1)
    Upload.objects.filter(pk=analysis.upload_id).update(media_expires_at=past)
    Analysis.objects.filter(pk=analysis.pk).update(pictures_expire_at=past)
    return analysis


def agree(media_root: Path) -> None:
    """Rows and disk say the same."""
    folders = {path.name for path in media_root.iterdir() if path.name != ".veriframe"}
    assert folders <= {str(pk) for pk in Upload.objects.values_list("pk", flat=True)}, "orphans"
    for upload in Upload.objects.all():
        assert Path(upload.file.path).exists() == (upload.media_deleted_at is None)
    for analysis in Analysis.objects.filter(status="succeeded").select_related("upload"):
        pictured = analysis.tracks.filter(has_thumbnail=True).exists()
        assert (media_root / analysis.folder).is_dir() == pictured == (analysis.pictures_deleted_at is None)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_cleaning_up_and_analysing_anew(_round, owner, finish, media_root, queued):
    analysis = due(finish(owner))
    assert at_once(lambda: services.retry(analysis=analysis), cleanup.expire) == []
    found = Analysis.objects.select_related("upload").get(pk=analysis.pk)
    if found.is_active:
        assert found.upload.media_deleted_at is None
        assert queued() == [str(found.pk)]
        runner.run(found.pk, engine=FakePipeline(frames=2))
    else:
        assert found.upload.media_deleted_at is not None
    agree(media_root)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_cleaning_up_while_a_worker_analyses(_round, owner, finish, media_root):
    analysis = due(finish(owner))
    services.retry(analysis=analysis)
    due(analysis)
    engine = FakePipeline(frames=4)
    assert at_once(lambda: runner.run(analysis.pk, engine=engine), cleanup.expire, cleanup.tidy) == []
    analysis.refresh_from_db()
    assert analysis.status == "succeeded"
    agree(media_root)


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_everybody_deletes_at_once(_round, owner, finish, media_root):
    analysis = due(finish(owner))
    raised = at_once(
        lambda: services.delete(analysis=analysis),
        lambda: retention.end_now(Analysis.objects.select_related("upload").get(pk=analysis.pk), by=owner),
        cleanup.expire,
        cleanup.expire,
        cleanup.tidy,
    )
    assert [error for error in raised if not isinstance(error, Analysis.DoesNotExist)] == []
    assert (Analysis.objects.count(), Upload.objects.count()) == (0, 0)
    assert [path.name for path in media_root.iterdir() if path.name != ".veriframe"] == []
    assert DeletionReceipt.objects.filter(what="file").count() == 1, "deleted once, whoever it was"


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_cleaning_up_and_deleting_the_account(_round, owner, finish, media_root):
    from detection.privacy import erasure

    factories.make_user(is_staff=True, is_superuser=True)
    due(finish(owner))
    running = factories.make_analysis(owner)
    raised = at_once(
        lambda: erasure.erase(user=owner),
        cleanup.expire,
        lambda: runner.run(running.pk, engine=FakePipeline(frames=2)),
    )
    assert raised == []
    assert Upload.objects.count() == 0
    assert [path.name for path in media_root.iterdir() if path.name != ".veriframe"] == []
    assert set(DeletionReceipt.objects.values_list("user", flat=True)) == {None}


@pytest.mark.parametrize("_round", range(ROUNDS))
@pytest.mark.parametrize("ending", ["expire", "delete", "erase"])
def test_downloading_what_is_being_deleted(_round, ending, owner, finish):
    """What was there, or a word about where it went: nothing else."""
    from detection.privacy import erasure

    factories.make_user(is_staff=True, is_superuser=True)
    analysis = due(finish(owner))
    acts = {
        "expire": cleanup.expire,
        "delete": lambda: services.delete(analysis=analysis),
        "erase": lambda: erasure.erase(user=owner),
    }
    answers: list[tuple[int, bool]] = []

    def download(client: Client, name: str) -> None:
        for _again in range(8):
            there = Analysis.objects.filter(pk=analysis.pk)
            response = client.get(f"/media/{analysis.pk}/{name}", headers={"Accept": "application/json"})
            if response.streaming:
                async_to_sync(read)(response)
            answers.append((response.status_code, there.exists()))

    one, other = Client(), Client()
    for client in (one, other):
        client.force_login(owner)
    assert at_once(partial(download, one, "source"), partial(download, other, "faces/0.jpg"), acts[ending]) == []
    allowed = {200, 410} if ending == "expire" else {200, 404}
    assert {status for status, _there in answers} <= allowed
    assert not [status for status, there in answers if status == 404 and there], "not before the row is gone"


async def read(response) -> None:
    """To its end, which closes the file."""
    async for _part in response:
        pass


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_two_uploads_for_the_last_room(_round, owner, media_root, settings):
    settings.STORAGE_BYTES = len(factories.jpeg()) + 10

    def send() -> None:
        from detection import validators

        services.submit(user=owner, upload=validators.accept(factories.uploaded()))

    assert at_once(send, send) == []
    assert Upload.objects.count() == 1
    agree(media_root)


async def test_a_download_that_has_begun_comes_to_its_end(owner, async_client_of, media_root):
    """The file is deleted under it; the next one is told that it is gone."""
    content = factories.jpeg() + bytes(3 * 1024 * 1024)
    analysis, client = await asyncio.to_thread(big_file, owner, content, async_client_of)
    address = f"/media/{analysis.pk}/source"
    response = await client.get(address)
    parts = aiter(response)
    received = await anext(parts)
    assert await asyncio.to_thread(in_thread, cleanup.expire)
    async for part in parts:
        received += part
    response.close()
    assert received == content
    gone = await client.get(address, headers={"Accept": "application/json"})
    assert (gone.status_code, gone.json()["code"]) == (410, "media_deleted")
    page = await client.get(address, headers={"Accept": "text/html"})
    assert page.status_code == 410
    assert b"This was deleted" in page.content
    part = await client.get(address, headers={"Range": "bytes=0-99"})
    assert part.status_code == 410


def in_thread(act: Callable[[], object]) -> object:
    try:
        return act()
    finally:
        connections.close_all()


def big_file(owner, content: bytes, async_client_of):
    try:
        analysis = factories.make_analysis(owner, status="succeeded")
        Path(analysis.upload.file.path).write_bytes(content)
        return due(analysis), async_client_of(owner)
    finally:
        connections.close_all()
