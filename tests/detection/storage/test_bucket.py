"""Files in a bucket: from the upload to the end, with nothing left over, and with all that goes wrong on the way.

A real S3 server (moto's) behind the real boto3.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from accounts.models import User
from detection import checks, cleanup, open_access, retention, runner, services, storage
from detection.engine.media import open_media
from detection.models import Analysis, DeletionReceipt, FaceScore, ReviewCase, Upload
from detection.privacy import archive, erasure
from detection.review import export
from detection.storage import bucket
from tests import factories
from tests.buckets import S3
from tests.detection.storage.conftest import use
from tests.fakes import FakePipeline
from tests.services import free_port

pytestmark = pytest.mark.django_db(transaction=True)
PORTRAIT = Path(__file__).parents[3] / "static" / "samples" / "astronaut.jpg"
JSON = {"Accept": "application/json"}


@pytest.fixture
def finished(s3: S3, owner: User) -> Analysis:
    return finish(owner)


def finish(user: User, engine: FakePipeline | None = None) -> Analysis:
    analysis = factories.make_analysis(user)
    runner.run(analysis.pk, engine=engine or FakePipeline(frames=2))
    return again(analysis)


def again(analysis: Analysis) -> Analysis:
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


def names(s3: S3, analysis: Analysis) -> list[str]:
    """Of what lies in the folder of its upload, with the attempts numbered."""
    keys = [key.removeprefix(f"site/{analysis.upload_id}/").split("/") for key in s3.objects()]
    attempts = sorted({key[1] for key in keys if len(key) > 2})
    return ["/".join([str(attempts.index(key[1])), *key[2:]] if len(key) > 2 else key) for key in keys]


PICTURES = ["faces/0.jpg", "faces/1.jpg", "heatmaps/0.png", "heatmaps/1.png", "tracks/0.jpg"]
WHOLE = [*(f"0/{name}" for name in PICTURES), "source.jpg"]


# -- There and back ---------------------------------------------------------------------------------------------------


def test_from_upload_to_deletion(s3: S3, owner_client: Client, owner: User, media_root, stored):
    answer = owner_client.post("/upload/", {"file": factories.uploaded()}, headers=JSON)
    assert answer.status_code == 202
    analysis = Analysis.objects.select_related("upload").get()
    assert s3.objects() == [f"site/{analysis.upload_id}/source.jpg"]
    assert s3.read(s3.objects()[0]) == factories.jpeg()

    seen: list[bytes] = []
    engine = FakePipeline(
        frames=2, between=lambda _frame: seen.extend(p.read_bytes() for p in media_root.rglob("*.jpg"))
    )
    runner.run(analysis.pk, engine=engine)
    assert set(seen) == {factories.jpeg()}, "the engine reads a copy"
    assert stored() == [], "which is gone"
    assert names(s3, analysis) == WHOLE

    page = owner_client.get(f"/analyses/{analysis.pk}/")
    assert page.status_code == 200
    assert owner_client.get(f"/api/v1/analyses/{analysis.pk}/report.pdf").content.count(b"/Subtype /Image") == 1
    assert owner_client.delete(f"/api/v1/analyses/{analysis.pk}/").status_code == 204
    assert s3.objects() == []
    assert set(DeletionReceipt.objects.values_list("what", flat=True)) == {"file", "result"}


def test_a_large_file_is_sent_on_in_parts(s3: S3, owner_client: Client, settings: LazySettings):
    content = factories.jpeg() + bytes(range(256)) * (2 * bucket.PART // 256)
    owner_client.post("/upload/", {"file": factories.uploaded(content=content)}, headers=JSON)
    upload = Upload.objects.get()
    assert (upload.size, upload.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    (key,) = s3.objects()
    assert s3.read(key) == content
    assert s3.client.head_object(Bucket=s3.bucket, Key=key)["ETag"].endswith('-3"'), "three parts"
    pieces: list[None] = []
    with storage.store().local_copy(upload, lambda: pieces.append(None)) as path:
        assert path.read_bytes() == content
    assert len(pieces) > len(content) // bucket.PIECE, "who asks for it is heard from in between"


def test_there_is_only_so_much_room(s3: S3, owner_client: Client, settings: LazySettings):
    settings.STORAGE_BYTES = 2 * len(factories.jpeg())
    for expected in (202, 202, 409):
        answer = owner_client.post("/api/v1/analyses/", {"file": factories.uploaded(), "force": "true"})
        assert answer.status_code == expected
    assert answer.json()["code"] == "storage_full"
    assert len(s3.objects()) == 2


def test_one_s_data_and_the_end_of_an_account(s3: S3, owner: User, stranger: User, django_capture_on_commit_callbacks):
    factories.make_user(is_staff=True, is_superuser=True)
    analysis, theirs = finish(owner), finish(stranger)
    with zipfile.ZipFile(io.BytesIO(b"".join(archive.stream(owner, "en")))) as found:
        pdf = next(name for name in found.namelist() if name.endswith(".pdf"))
        assert found.read(pdf).count(b"/Subtype /Image") == 1
        assert json.loads(found.read("data/uploads.json"))[0]["id"] == str(analysis.upload_id)
    erasure.erase(user=owner)
    assert {key.split("/")[1] for key in s3.objects()} == {str(theirs.upload_id)}


# -- Who may read -----------------------------------------------------------------------------------------------------


def test_a_file_is_read_from_the_bucket_by_a_short_lived_address(finished: Analysis, owner_client: Client):
    Upload.objects.update(name="My “face” ü.jpg")
    answer = owner_client.get(f"/media/{finished.pk}/source")
    assert (answer.status_code, answer["Cache-Control"]) == (302, "private, no-store")
    says = parse_qs(urlsplit(answer["Location"]).query)
    assert (says["X-Amz-Expires"], says["response-content-type"]) == (["300"], ["image/jpeg"])
    assert says["response-content-disposition"][0].startswith("inline; filename*=utf-8''My%20")

    read = httpx.get(answer["Location"])
    assert (read.content, read.headers["Content-Type"]) == (factories.jpeg(), "image/jpeg")
    assert read.headers["Content-Disposition"].startswith("inline; filename*=utf-8''My%20")
    part = httpx.get(answer["Location"], headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, factories.jpeg()[10:20]), "a player can seek"
    head = owner_client.head(f"/media/{finished.pk}/source")
    assert httpx.head(head["Location"]).headers["Content-Length"] == str(len(factories.jpeg()))


def test_a_type_that_is_not_known_is_saved_and_never_shown(finished: Analysis, owner_client: Client):
    Upload.objects.update(mime="text/html")
    read = httpx.get(owner_client.get(f"/media/{finished.pk}/source")["Location"])
    assert read.headers["Content-Type"] == "application/octet-stream"
    assert read.headers["Content-Disposition"].startswith("attachment")


def test_nobody_else_is_given_an_address(finished: Analysis, client: Client, stranger: User):
    assert client.get(f"/media/{finished.pk}/source", headers=JSON).status_code == 404
    client.force_login(stranger)
    assert client.get(f"/media/{finished.pk}/source").status_code == 404


def test_what_is_not_there_is_told_by_us(finished: Analysis, owner_client: Client, owner: User):
    for name in ("faces/99.jpg", "faces/../source.jpg", "../.veriframe", "tracks/0.png"):
        assert owner_client.get(f"/media/{finished.pk}/{name}").status_code == 404
    retention.end_now(finished, by=owner)
    retention.delete_pictures(finished.pk, reason="user")
    for name in ("source", "faces/0.jpg"):
        gone = owner_client.get(f"/media/{finished.pk}/{name}", headers=JSON)
        assert (gone.status_code, gone.json()["code"]) == (410, "media_deleted")


def test_an_open_address_works_on_other_pages(s3: S3, client: Client, db: None):
    analysis = finish(open_access.open_user())
    answer = client.get(f"/media/{analysis.pk}/faces/0.jpg?key={open_access.key_of(analysis)}")
    assert (answer.status_code, answer["Cross-Origin-Resource-Policy"]) == (302, "cross-origin")


# -- Attempts ---------------------------------------------------------------------------------------------------------


def test_a_new_run_puts_its_pictures_beside_and_the_old_ones_go(finished: Analysis, s3: S3, owner_client: Client):
    first = s3.objects()
    services.retry(analysis=finished)
    assert names(s3, finished) == ["source.jpg"]
    runner.run(finished.pk, engine=FakePipeline(frames=2))
    assert names(s3, finished) == WHOLE
    assert not {key for key in s3.objects() if "/faces/" in key} & set(first)
    assert owner_client.get(f"/media/{finished.pk}/faces/0.jpg").status_code == 302


def test_what_a_dead_worker_wrote_is_removed_by_the_next_attempt(s3: S3, owner: User):
    analysis = factories.make_analysis(owner)
    s3.write(f"site/{analysis.folder}/20260101T000000.000000/faces/0.jpg")
    runner.run(analysis.pk, engine=FakePipeline(frames=2))
    assert names(s3, analysis) == WHOLE


def test_of_a_worker_that_was_overtaken_nothing_stays(s3: S3, owner: User):
    """It wakes up after another one has taken the work over and finished it."""
    analysis = factories.make_analysis(owner)

    def overtake(frame: int) -> None:
        if frame == 1:
            Analysis.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            runner.run(analysis.pk, engine=FakePipeline(frames=2))

    runner.run(analysis.pk, engine=FakePipeline(frames=2, between=overtake))
    assert again(analysis).status == "succeeded"
    assert names(s3, analysis) == WHOLE
    picture = storage.store().picture(again(analysis), "faces/0.jpg")
    assert picture.exists()


def test_the_claim_is_renewed_while_the_file_is_fetched(s3: S3, owner: User):
    analysis = factories.make_analysis(owner)
    while_fetched(lambda: Analysis.objects.update(lease_until=timezone.now() - timedelta(seconds=1)))
    engine = FakePipeline(frames=2)

    def still_ours() -> FakePipeline:
        assert again(analysis).lease_until > timezone.now()
        return engine

    runner.run(analysis.pk, engine=still_ours)
    assert again(analysis).status == "succeeded"


def test_nothing_more_is_fetched_for_an_analysis_that_was_cancelled(s3: S3, owner: User, stored):
    analysis = factories.make_analysis(owner)
    while_fetched(lambda: services.cancel(analysis=analysis))
    engine = FakePipeline(frames=2)
    runner.run(analysis.pk, engine=engine)
    assert (again(analysis).status, engine.runs, stored()) == ("cancelled", 0, [])


def while_fetched(happen: Callable[[], object]) -> None:
    """Between the beginning of the answer and the file itself."""
    events = storage.store().client.meta.events
    events.register("after-call.s3.GetObject", lambda **_: happen())


def test_pictures_of_a_transaction_that_failed_stay_until_the_clean_up(s3: S3, owner: User, monkeypatch, aged):
    """Whether it was committed all the same, nobody knows: removing them might take them from under a row."""
    analysis = factories.make_analysis(owner)

    def break_off(_attempt: object) -> None:
        put_in_place(_attempt)
        raise RuntimeError("the connection was lost in this moment")

    put_in_place = bucket.BucketAttempt.put_in_place
    monkeypatch.setattr(bucket.BucketAttempt, "put_in_place", break_off)
    runner.run(analysis.pk, engine=FakePipeline(frames=2))
    assert again(analysis).status == "failed"
    assert names(s3, analysis) == WHOLE
    assert cleanup.tidy().leftovers == 1
    assert names(s3, analysis) == ["source.jpg"]


# -- The bucket is away -----------------------------------------------------------------------------------------------


@pytest.fixture
def away(s3: S3, settings: LazySettings, monkeypatch: pytest.MonkeyPatch):
    """Takes the bucket away, and brings it back."""

    def change(*, gone: bool) -> None:
        use(f"http://127.0.0.1:{free_port()}" if gone else s3.url, s3.bucket, settings, monkeypatch)

    return change


def test_an_upload_is_refused_and_nothing_is_left(away, owner_client: Client):
    away(gone=True)
    answer = owner_client.post("/upload/", {"file": factories.uploaded()}, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer["Retry-After"]) > 0
    answer = owner_client.post("/api/v1/analyses/", {"file": factories.uploaded()})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert Upload.objects.count() == 0


def test_a_worker_hands_the_work_back_and_it_is_no_attempt(away, s3: S3, owner: User, queued):
    analysis = factories.make_analysis(owner, sent_at=timezone.now())
    away(gone=True)
    runner.run(analysis.pk, engine=FakePipeline(frames=2))
    waiting = again(analysis)
    assert (waiting.status, waiting.attempts, waiting.sent_at) == ("queued", 0, None)
    Analysis.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    away(gone=False)
    services.sweep()
    assert queued() == [str(analysis.pk)]
    runner.run(analysis.pk, engine=FakePipeline(frames=2))
    assert again(analysis).status == "succeeded"


def test_what_is_deleted_meanwhile_goes_with_the_next_clean_up(away, finished: Analysis, s3: S3, aged):
    storage.store().mark()
    away(gone=True)
    services.delete(analysis=finished)
    assert Upload.objects.count() == 0
    away(gone=False)
    assert len(s3.objects()) == 6
    assert cleanup.tidy().orphan_folders == 1
    assert s3.objects() == []


# -- The clean-up -----------------------------------------------------------------------------------------------------


def test_what_is_due_goes(finished: Analysis, s3: S3):
    past = timezone.now() - timedelta(seconds=1)
    Upload.objects.update(media_expires_at=past)
    done = cleanup.expire()
    assert (done.files, done.pictures, done.results) == (1, 0, 0)
    assert names(s3, finished) == WHOLE[:-1]
    Analysis.objects.update(pictures_expire_at=past)
    assert cleanup.expire().pictures == 1
    assert s3.objects() == []
    assert dict(DeletionReceipt.objects.values_list("what", "size"))["pictures"] > 1000


def test_a_tidy_bucket_is_left_as_it_is(finished: Analysis, s3: S3, owner: User, aged):
    factories.make_analysis(owner)
    s3.write("site/backup.tar")
    s3.write("site/samples/pan.mp4")
    for folder in ("", finished.upload_id, finished.folder):  # as programs do to which a folder is a thing
        s3.write(f"site/{folder}/".replace("//", "/"), b"")
    s3.write("another-program/source.jpg")
    before = s3.objects()
    assert not any(asdict(cleanup.tidy()).values())
    assert s3.objects() == before


def test_what_killed_processes_leave_behind(finished: Analysis, s3: S3, aged):
    s3.write("site/0b8a5f5e-7d9e-4b8e-9a55-0d1f6a3c2b11/source.mp4")  # killed before the row was there
    s3.write(f"site/{finished.folder}/20260101T000000.000000/faces/0.jpg")  # killed while it analysed
    s3.write(f"site/{finished.upload_id}/0b8a5f5e-7d9e-4b8e-9a55-0d1f6a3c2b11/20260101T000000.0/faces/0.jpg")
    s3.client.create_multipart_upload(Bucket=s3.bucket, Key="site/x/source.mp4")  # killed while it sent on
    s3.client.create_multipart_upload(Bucket=s3.bucket, Key="another-program/x")
    expected = {"orphan_folders": 1, "leftovers": 2, "partial_uploads": 1}
    assert {name: number for name, number in asdict(cleanup.tidy(dry_run=True)).items() if number} == expected
    assert {name: number for name, number in asdict(cleanup.tidy()).items() if number} == expected
    assert names(s3, finished) == WHOLE
    assert len(s3.client.list_multipart_uploads(Bucket=s3.bucket)["Uploads"]) == 1
    assert not any(asdict(cleanup.tidy()).values())


def test_what_is_young_may_be_somebodys_work(finished: Analysis, s3: S3):
    s3.write("site/0b8a5f5e-7d9e-4b8e-9a55-0d1f6a3c2b11/source.mp4")
    s3.write(f"site/{finished.folder}/20260101T000000.000000/faces/0.jpg")
    assert not any(asdict(cleanup.tidy()).values())  # (of half an upload, moto always says that it is years old)
    assert len(s3.objects()) == 8


def test_the_pictures_of_a_run_at_work_are_left_alone(s3: S3, owner: User, aged):
    analysis = factories.make_analysis(owner)
    engine = FakePipeline(frames=2)
    found: list[int] = []

    def tidy(_frame: int) -> None:
        (folder,) = storage.store().kept(again(analysis))
        s3.write(f"site/{folder}/faces/0.jpg")
        found.append(cleanup.tidy().leftovers)

    engine.between = tidy
    runner.run(analysis.pk, engine=engine)
    assert (found, names(s3, analysis)) == ([0, 0], WHOLE)


def test_rows_whose_files_are_gone_say_so(finished: Analysis, s3: S3, owner: User):
    storage.store().mark()
    s3.empty()
    done = cleanup.tidy()
    assert (done.missing_files, done.missing_pictures) == (1, 1)
    finished = again(finished)
    assert finished.upload.media_deleted_reason == "missing"
    waiting = factories.make_analysis(owner)
    storage.source(waiting.upload).unlink()
    runner.run(waiting.pk, engine=OnlyOpens)
    assert again(waiting).error_code == "unreadable_media"


class OnlyOpens:
    """Opens the file as the engine does."""

    def run(self, path: Path, on_event: object, challenger: object, mode: object) -> None:
        open_media(path)


def test_an_empty_bucket_is_not_taken_for_ours(finished: Analysis, s3: S3):
    s3.empty()
    with pytest.raises(OSError, match="the bucket media-"):
        cleanup.tidy()
    assert not Upload.objects.exclude(media_deleted_at=None).exists()


def test_a_bucket_that_keeps_what_is_deleted_is_warned_of(s3: S3, away):
    assert checks.bucket_forgets(None) == []
    s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
    assert [message.id for message in checks.bucket_forgets(None)] == ["veriframe.W002"]
    away(gone=True)
    assert [message.id for message in checks.bucket_forgets(None)] == ["veriframe.E002"]


# -- Training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("without_file", [False, True])
def test_what_reviewers_decided_is_exported_from_the_bucket(
    s3: S3, owner: User, without_file: bool, tmp_path: Path, media_root: Path
):
    portrait = PORTRAIT.read_bytes()
    analysis = factories.make_result(owner, tracks=1, frames=1)
    Analysis.objects.update(started_at=timezone.now(), reviewed_verdict="authentic", reviewed_at=timezone.now())
    Upload.objects.update(consented_at=timezone.now())
    FaceScore.objects.update(face_size=200)
    analysis = again(analysis)
    ReviewCase.objects.create(analysis=analysis, is_current=True, decided_at=timezone.now())
    (source,) = s3.objects()
    s3.write(source, portrait)
    s3.write(f"site/{next(iter(storage.store().kept(analysis)))}/faces/0.jpg", portrait)
    if without_file:
        retention.end_now(analysis, by=owner)
    found = export.export(tmp_path / "out")
    kind = "reviewed-crops" if without_file else "reviewed"
    (split_and_origin,) = found.summary.crops
    assert (split_and_origin.split()[1], found.analyses) == (f"{kind}-real", 1)
    assert list(media_root.rglob("*.jpg")) == []


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is old enough."""
    monkeypatch.setattr(cleanup.disk, "YOUNG", -cleanup.disk.YOUNG)
    monkeypatch.setattr(storage, "ARRIVING", -storage.ARRIVING)
