"""What a user asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import dramatiq
import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone

from accounts.models import User
from detection import services, validators
from detection.models import Analysis, Upload
from detection.problems import Refused
from tests import factories
from tests.services import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """What follows a commit is done, as it would be outside a test's transaction."""
    with django_capture_on_commit_callbacks(execute=True):
        yield


def submit(user: User, name: str = "face.jpg", content: bytes | None = None) -> Analysis:
    return services.submit(user=user, upload=validators.accept(factories.uploaded(name, content)))


def test_submitting_stores_and_sends(owner, stored, queued, django_capture_on_commit_callbacks):
    content = factories.jpeg((200, 100))
    with django_capture_on_commit_callbacks(execute=True):
        analysis = submit(owner, "My face.jpeg", content)
    upload = Upload.objects.get()
    assert (upload.name, upload.kind, upload.mime) == ("My face.jpeg", "image", "image/jpeg")
    assert (upload.size, upload.width, upload.height) == (len(content), 200, 100)
    assert upload.sha256 == hashlib.sha256(content).hexdigest()
    assert stored() == [f"{upload.pk}/source.jpg"]
    assert queued() == [str(analysis.pk)]
    assert Analysis.objects.get().sent_at is not None


def test_a_large_file_is_copied_whole(owner, media_root: Path):
    content = factories.jpeg() + bytes(range(256)) * 4096
    submit(owner, "large.jpg", content)
    upload = Upload.objects.get()
    assert (media_root / upload.file.name).read_bytes() == content
    assert upload.sha256 == hashlib.sha256(content).hexdigest()


def test_only_the_owner_of_the_process_may_read_a_stored_file(owner, media_root: Path):
    submit(owner)
    path = media_root / Upload.objects.get().file.name
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_left_when_the_disk_is_full(owner, media_root: Path, monkeypatch):
    accepted = validators.accept(factories.uploaded())

    def full(self, chunk_size=None):
        yield b"a first piece"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(services.HashedFile, "chunks", full)
    with pytest.raises(Refused) as refused:
        services.submit(user=owner, upload=accepted)
    assert (refused.value.code, refused.value.status) == ("disk_full", 507)
    assert not Upload.objects.exists()
    assert list(media_root.iterdir()) == []


def test_nothing_is_left_when_the_row_cannot_be_written(owner, media_root: Path, monkeypatch, queued):
    def broken(**fields):
        raise RuntimeError("database is gone")

    monkeypatch.setattr(Analysis.objects, "create", broken)
    with pytest.raises(RuntimeError, match="gone"):
        submit(owner)
    assert not Upload.objects.exists()
    assert list(media_root.iterdir()) == []
    assert queued() == []


@pytest.mark.django_db(transaction=True)
def test_a_file_whose_message_cannot_be_noted_down_stays_with_its_rows(owner, stored, monkeypatch):
    """Too late to take anything back: the rows are committed."""

    def broken(analysis_id):
        raise DatabaseError("database is locked")

    monkeypatch.setattr(services, "send", broken)
    analysis = submit(owner)
    assert Analysis.objects.get() == analysis
    assert stored() == [f"{analysis.upload_id}/source.jpg"]


@pytest.mark.usefixtures("committed")
def test_cancelling_a_queued_analysis():
    analysis = factories.make_analysis()
    services.cancel(analysis=analysis)
    assert Analysis.objects.get().status == "cancelled"
    assert Analysis.objects.get().finished_at is not None


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_cancelling_what_has_ended_is_a_conflict(status: str):
    analysis = factories.make_analysis(status=status)
    with pytest.raises(Refused) as error:
        services.cancel(analysis=analysis)
    assert (error.value.code, error.value.status) == ("conflict", 409)
    assert Analysis.objects.get().status == status


@pytest.mark.parametrize("status", ["queued", "running"])
def test_retrying_what_has_not_ended_is_a_conflict(status: str):
    analysis = factories.make_analysis(status=status)
    with pytest.raises(Refused) as error:
        services.retry(analysis=analysis)
    assert error.value.code == "conflict"


@pytest.mark.parametrize("status", ["failed", "cancelled", "succeeded"])
def test_retrying_begins_anew(status: str, queued, django_capture_on_commit_callbacks):
    analysis = factories.make_analysis(
        status=status, error_code="timed_out", error_message="x", attempts=3, revision=17, started_at=timezone.now()
    )
    with django_capture_on_commit_callbacks(execute=True):
        services.retry(analysis=analysis)
    row = Analysis.objects.get()
    assert (row.status, row.error_code, row.error_message, row.attempts) == ("queued", "", "", 0)
    assert row.started_at is None
    assert row.revision == 18
    assert row.created_at == analysis.created_at
    assert queued() == [str(analysis.pk)]


def test_deleting_removes_rows_and_files(stored, django_capture_on_commit_callbacks):
    analysis = factories.make_result()
    other = factories.make_analysis()
    with django_capture_on_commit_callbacks(execute=True):
        services.delete(analysis=analysis)
    assert Upload.objects.get() == other.upload
    assert stored() == [f"{other.upload_id}/source.jpg"]


def test_a_file_stays_while_another_analysis_needs_it(media_root, stored, django_capture_on_commit_callbacks):
    first = factories.make_analysis()
    second = factories.make_analysis(upload=first.upload)
    for analysis in (first, second):
        (media_root / analysis.folder).mkdir()
        (media_root / analysis.folder / "0.jpg").write_bytes(b"x")
    with django_capture_on_commit_callbacks(execute=True):
        services.delete(analysis=first)
    assert stored() == sorted([f"{first.upload_id}/source.jpg", f"{second.folder}/0.jpg"])
    with django_capture_on_commit_callbacks(execute=True):
        services.delete(analysis=second)
    assert list(media_root.iterdir()) == []


def test_deleting_twice_is_harmless(django_capture_on_commit_callbacks):
    analysis = factories.make_analysis()
    again = Analysis.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        services.delete(analysis=analysis)
        services.delete(analysis=again)
    assert not Analysis.objects.exists()


# -- Lost work --------------------------------------------------------------------------------------------------------


def running(seconds: int) -> Analysis:
    """An analysis whose lease ends in so many seconds."""
    return factories.make_analysis(
        status="running",
        claim_token=uuid4(),
        attempts=1,
        lease_until=timezone.now() + timedelta(seconds=seconds),
        sent_at=timezone.now(),
    )


def age(analysis: Analysis, **fields: timedelta) -> None:
    Analysis.objects.filter(pk=analysis.pk).update(**{k: timezone.now() - v for k, v in fields.items()})


def test_a_stale_lease_is_sent_again_a_living_one_is_left(queued: Callable[[], list[str]]):
    living, stale = running(60), running(-1)
    age(living, created_at=timedelta(hours=1))
    age(stale, created_at=timedelta(hours=1))
    assert services.requeue_unfinished() == 1
    assert queued() == [str(stale.pk)]
    row = Analysis.objects.get(pk=stale.pk)
    assert (row.status, row.claim_token, row.attempts) == ("queued", None, 1)
    assert Analysis.objects.get(pk=living.pk).claim_token == living.claim_token


def test_the_next_sweep_does_not_send_it_once_more(queued):
    age(running(-1), created_at=timedelta(hours=1))
    services.requeue_unfinished()
    assert services.requeue_unfinished() == 0
    assert len(queued()) == 1


def test_a_message_that_never_left_is_sent(queued, monkeypatch):
    """The broker was away when the upload came."""
    analysis = factories.make_analysis()
    with monkeypatch.context() as patched:

        def away(message, *, delay=None):
            raise dramatiq.errors.ConnectionClosed("no broker")

        patched.setattr(dramatiq.get_broker(), "enqueue", away)
        services.send(analysis.pk)
    assert Analysis.objects.get().sent_at is None
    assert services.requeue_unfinished() == 0, "a transaction that was just committed sends for itself"
    age(analysis, created_at=timedelta(minutes=1))
    assert services.requeue_unfinished() == 1
    assert queued() == [str(analysis.pk)]


def test_a_sweep_while_the_broker_is_away_loses_nothing(queued, monkeypatch):
    analysis = factories.make_analysis()
    age(analysis, created_at=timedelta(minutes=1))
    with monkeypatch.context() as patched:

        def away(message, *, delay=None):
            raise dramatiq.errors.ConnectionClosed("no broker")

        patched.setattr(dramatiq.get_broker(), "enqueue", away)
        assert services.requeue_unfinished() == 0
    assert services.requeue_unfinished() == 1
    assert queued() == [str(analysis.pk)]


def test_a_broker_that_is_away_is_asked_once_in_each_sweep(monkeypatch):
    """To say so may take it long, for each message anew."""
    for _ in range(3):
        age(factories.make_analysis(), created_at=timedelta(minutes=1))
    asked: list[object] = []

    def away(message, *, delay=None):
        asked.append(message)
        raise dramatiq.errors.ConnectionClosed("no broker")

    monkeypatch.setattr(dramatiq.get_broker(), "enqueue", away)
    assert services.requeue_unfinished() == 0
    assert len(asked) == 1
    assert set(Analysis.objects.values_list("sent_at", flat=True)) == {None}


def test_a_sweep_goes_on_without_redis_while_messages_are_elsewhere(queued, settings: LazySettings, tmp_path):
    settings.EMBEDDED = False
    nobody = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port()}"}
    settings.CACHES = {"default": nobody}
    lost = factories.make_analysis(sent_at=timezone.now())
    never_sent = factories.make_analysis()
    age(never_sent, created_at=timedelta(minutes=1))
    services.sweep()
    assert queued() == [str(never_sent.pk)], f"whether {lost.pk} is forgotten, nobody knows"


def test_a_message_that_is_old_is_sent_again(queued):
    analysis = factories.make_analysis()
    age(analysis, created_at=timedelta(hours=1), sent_at=timedelta(minutes=9))
    assert services.requeue_unfinished() == 0
    age(analysis, sent_at=timedelta(minutes=11))
    assert services.requeue_unfinished() == 1
    assert queued() == [str(analysis.pk)]


def test_the_only_worker_takes_everything_over_at_its_start(queued):
    """The process was killed: its leases still run, its messages are gone."""
    waiting, at_work = factories.make_analysis(sent_at=timezone.now()), running(100)
    factories.make_analysis(status="succeeded")
    assert services.requeue_unfinished(only_worker=True) == 2
    assert sorted(queued()) == sorted([str(waiting.pk), str(at_work.pk)])
    assert {row.status for row in Analysis.objects.exclude(status="succeeded")} == {"queued"}


def test_sweeping_by_hand_needs_a_broker_that_outlives_the_command(settings: LazySettings, capsys):
    with pytest.raises(CommandError, match="REDIS_URL"):
        call_command("requeue_unfinished")
    settings.EMBEDDED = False
    age(running(-1), created_at=timedelta(hours=1))
    call_command("requeue_unfinished")
    assert "1 analyses were sent again" in capsys.readouterr().out
