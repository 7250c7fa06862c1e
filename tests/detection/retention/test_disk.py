"""What disagrees between rows and disk is found and repaired; what is none of our business is left alone."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from config.uploads import incoming
from detection import cleanup, runner, services, storage
from detection.cleanup import disk
from detection.models import Analysis, DeletionReceipt, Upload
from tests import factories
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db(transaction=True)


def repaired(*, dry_run: bool = False) -> dict[str, int]:
    return {name: number for name, number in asdict(cleanup.tidy(dry_run=dry_run)).items() if number}


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch):
    """Everything on disk is old enough; the time of a change cannot be set, so the limit is moved."""
    monkeypatch.setattr(disk, "YOUNG", -disk.YOUNG)
    monkeypatch.setattr(storage, "ARRIVING", -storage.ARRIVING)


def make_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10)
    return path


def test_a_tidy_folder_is_left_as_it_is(owner, finish, aged, on_disk, media_root):
    finish(owner)
    factories.make_analysis(owner)
    make_file(media_root / "samples" / "astronaut-pan.mp4")
    make_file(media_root / "backup.tar")
    before = on_disk()
    assert repaired() == {}
    assert on_disk() == before


def test_what_killed_processes_leave_behind(owner, finish, aged, on_disk, media_root):
    kept = finish(owner)
    before = on_disk()
    upload = media_root / str(kept.upload_id)
    make_file(media_root / str(uuid.uuid4()) / "source.mp4")  # killed before the row was there
    make_file(media_root / f"{storage.TRASH}{uuid.uuid4()}" / "source.mp4")  # killed while it deleted
    make_file(incoming() / "tmpabc.upload")  # killed while it arrived
    make_file(upload / f".{kept.pk}-{uuid.uuid4()}" / "faces" / "0.jpg")  # killed while it analysed
    make_file(upload / str(uuid.uuid4()) / "faces" / "0.jpg")  # of an analysis that is gone
    expected = {"trash": 1, "partial_uploads": 1, "orphan_folders": 1, "leftovers": 2}
    assert repaired(dry_run=True) == expected
    assert len(on_disk()) == len(before) + 5
    assert repaired() == expected
    assert on_disk() == before
    assert repaired() == {}


def test_what_is_young_may_be_somebodys_work(owner, media_root, on_disk):
    make_file(media_root / str(uuid.uuid4()) / "source.mp4")
    make_file(media_root / f"{storage.TRASH}{uuid.uuid4()}" / "source.mp4")
    make_file(incoming() / "tmpabc.upload")
    assert repaired() == {}
    assert len(on_disk()) == 3


def test_the_pictures_of_a_run_at_work_are_left_alone(owner, aged, media_root):
    token = uuid.uuid4()
    running = factories.make_analysis(owner, status="running", claim_token=token)
    picture = make_file(media_root / str(running.upload_id) / f".{running.pk}-{token}" / "faces" / "0.jpg")
    assert repaired() == {}
    assert picture.exists()


def test_a_deletion_that_was_interrupted_is_finished(owner, finish, aged, media_root):
    """The row says that the file is gone; the process died before it was."""
    analysis = finish(owner)
    Upload.objects.update(media_deleted_at=analysis.created_at)
    assert repaired() == {"leftovers": 1}
    assert not storage.source(analysis.upload).exists()


def test_a_deletion_of_pictures_that_was_interrupted_is_finished(owner, finish, aged, media_root):
    analysis, kept = finish(owner), finish(owner)
    Analysis.objects.filter(pk=analysis.pk).update(pictures_deleted_at=analysis.created_at)
    assert repaired() == {"leftovers": 1}
    assert not (media_root / analysis.folder).exists()
    assert (media_root / kept.folder).is_dir()
    assert repaired() == {}


def test_pictures_of_a_new_run_are_no_leftovers(owner, finish, aged, media_root, monkeypatch):
    """It began after the folder had been listed."""
    analysis = finish(owner)
    Analysis.objects.filter(pk=analysis.pk).update(pictures_deleted_at=analysis.created_at)
    listed = list(disk._leftovers())
    assert [path.name for path in listed] == [str(analysis.pk)]
    services.retry(analysis=analysis)
    runner.run(analysis.pk, engine=FakePipeline(frames=2))
    monkeypatch.setattr(disk, "_leftovers", lambda: listed)
    repaired()
    assert list((media_root / analysis.folder).rglob("*.jpg"))


def test_rows_whose_files_are_gone_say_so(owner, finish, media_root):
    lost, kept, waiting = finish(owner), finish(owner), factories.make_analysis(owner)
    storage.source(lost.upload).unlink()
    storage.source(waiting.upload).unlink()
    shutil.rmtree(media_root / lost.folder)
    assert repaired() == {"missing_files": 1, "missing_pictures": 1}
    lost = Analysis.objects.select_related("upload").get(pk=lost.pk)
    assert lost.upload.media_deleted_reason == "missing"
    assert lost.pictures_deleted_at is not None
    kept.upload.refresh_from_db()
    assert kept.upload.media_deleted_at is None
    assert list(DeletionReceipt.objects.values_list("what", "reason")) == [("file", "missing")]
    waiting.upload.refresh_from_db()
    assert waiting.upload.media_deleted_at is None, "its analysis will say what is wrong"


def test_a_folder_that_goes_while_it_is_looked_at(owner, finish, aged, media_root, monkeypatch):
    analysis = finish(owner)
    listed = disk._upload_folders

    def then_deleted():
        for folders in listed():
            services.delete(analysis=analysis)
            yield folders

    monkeypatch.setattr(disk, "_upload_folders", then_deleted)
    assert repaired() == {}
    assert [path.name for path in media_root.iterdir()] == [".veriframe"]


def test_uploads_without_an_analysis_go(owner, aged, on_disk):
    factories.make_upload(owner)
    assert repaired() == {"empty_uploads": 1}
    assert (Upload.objects.count(), on_disk()) == (0, [])


def test_a_folder_that_is_not_mounted_is_not_taken_for_an_empty_one(owner, finish, media_root):
    finish(owner)
    shutil.rmtree(media_root)
    media_root.mkdir()
    with pytest.raises(OSError, match="is it mounted"):
        cleanup.tidy()
    with pytest.raises(CommandError, match="is it mounted"):
        call_command("clean_media", stdout=StringIO())
    assert not Upload.objects.exclude(media_deleted_at=None).exists()


def test_the_only_file_that_goes_while_it_is_looked_for_is_no_missing_folder(owner, finish, media_root, monkeypatch):
    analysis = finish(owner)
    (media_root / ".veriframe").unlink(missing_ok=True)
    source = storage.source

    def then_deleted(upload):
        monkeypatch.setattr(storage, "source", source)
        services.delete(analysis=analysis)
        return source(upload)

    monkeypatch.setattr(storage, "source", then_deleted)
    assert repaired() == {}
    assert list(media_root.iterdir()) == []


def test_a_folder_that_was_always_empty_is_not_taken_for_ours_once_there_are_files_elsewhere(owner, finish, media_root):
    assert repaired() == {}  # a second machine's folder, before the first upload
    finish(owner)
    shutil.rmtree(media_root)  # which arrives at the first machine
    media_root.mkdir()
    with pytest.raises(OSError, match="is it mounted"):
        cleanup.tidy()


def test_by_hand(owner, finish, media_root, monkeypatch):
    monkeypatch.setattr(disk, "YOUNG", -disk.YOUNG)
    make_file(media_root / str(uuid.uuid4()) / "source.mp4")
    out = StringIO()
    call_command("clean_media", "--dry-run", stdout=out)
    assert "Would be deleted or repaired:" in out.getvalue()
    assert "       1 orphan folders" in out.getvalue()
    out = StringIO()
    call_command("clean_media", stdout=out)
    assert "Deleted or repaired:" in out.getvalue()
    assert list(media_root.iterdir()) == []


def test_a_large_file_arrives_in_the_media_folder(client, owner, media_root, settings):
    """So that the clean-up finds it; and it is gone when it was taken."""
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 100
    client.force_login(owner)
    answer = client.post("/upload/", {"file": factories.uploaded()}, headers={"Accept": "application/json"})
    assert answer.status_code == 202
    assert incoming().is_dir()
    assert list(incoming().iterdir()) == []
