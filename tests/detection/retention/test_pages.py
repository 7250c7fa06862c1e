"""What people see of it: until when a file is kept, what is gone, what they can do about it."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from detection import cleanup, retention, validators
from detection.models import Analysis, DeletionReceipt, Upload
from detection.reports.pdf import report_pdf
from tests import factories
from tests.accounts.conftest import sign_in
from tests.detection.retention.conftest import BEGIN

pytestmark = pytest.mark.django_db(transaction=True)


def text(response) -> str:
    words = re.sub(r"<(script|template|style).*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", words))


def test_the_result_says_until_when_the_file_is_kept(owner_client, finished):
    page = owner_client.get(finished.get_absolute_url())
    assert "The file will be deleted in 1 hour: March 1, 2026, 1 p.m. UTC." in text(page)
    assert "The pictures of faces stay until March 31, 2026, noon UTC." in text(page)
    assert "What was found stays until March 1, 2027, noon UTC." in text(page)
    assert f'datetime="{(BEGIN + timedelta(hours=1)).isoformat()}" data-countdown' in page.content.decode()


def test_the_owner_keeps_it_longer(owner_client, finished):
    address = f"{finished.get_absolute_url()}file/keep/"
    page = owner_client.post(address, {"retain_seconds": "86400"}, follow=True)
    assert "The file will be deleted in 1 day: March 2, 2026" in text(page)
    page = owner_client.post(address, {"retain_seconds": "86401"}, follow=True)
    assert "A file can be kept for 0 to 86400 seconds after its result." in text(page)
    page = owner_client.post(address, {"retain_seconds": "x"}, follow=True)
    assert "Enter a whole number." in text(page)
    assert Upload.objects.get().keep_seconds == 86400


def test_the_owner_deletes_it_now(owner_client, finished, on_disk):
    address = f"{finished.get_absolute_url()}file/delete/"
    assert "Delete the file now?" in text(owner_client.get(address))
    assert f"{finished.upload_id}/source.jpg" in on_disk(), "asking deletes nothing"
    answer = owner_client.post(address)
    assert answer["Clear-Site-Data"] == '"cache"'
    page = owner_client.get(answer["Location"])
    assert "The file was deleted: March 1, 2026, noon UTC. Its owner asked for it." in text(page)
    assert f"{finished.upload_id}/source.jpg" not in on_disk()
    assert owner_client.get(address).status_code == 302, "once is enough"
    assert "The file was deleted on March 1, 2026, noon UTC." in text(owner_client.post(address, follow=True))
    assert "The file was deleted on" in text(
        owner_client.post(f"{finished.get_absolute_url()}file/keep/", {"retain_seconds": "0"}, follow=True)
    )


@pytest.mark.parametrize("kind", ["image", "video"])
def test_without_the_file_the_page_shows_what_is_left(kind, owner_client, owner, finish, clock):
    mime = {"image": "image/jpeg", "video": "video/mp4"}[kind]
    analysis = finish(owner, kind=kind, mime=mime)
    clock.forward(hours=1)
    cleanup.expire()
    page = owner_client.get(analysis.get_absolute_url())
    content = page.content.decode()
    assert f"The {'video' if kind == 'video' else 'picture'} was deleted, so it cannot be" in text(page)
    assert "The faces that were cut out of it are still here." in text(page)
    for broken in ("<video", 'id="picture"', "/source", "Run again", "Full screen", 'id="zoom-in"'):
        assert broken not in content, broken
    assert "/tracks/" in content
    report = json.loads(re.search(r'<script id="report"[^>]*>(.*?)</script>', content)[1])
    assert (report["media"]["url"], bool(report["media"]["deleted_at"])) == (None, True)
    assert "file deleted" in text(owner_client.get("/analyses/"))


def test_without_the_pictures_nothing_is_broken(owner_client, finished, clock, on_disk):
    clock.forward(days=30)
    cleanup.expire()
    assert on_disk() == []
    page = owner_client.get(finished.get_absolute_url())
    assert "The pictures of faces were deleted: March 31, 2026, noon UTC." in text(page)
    assert not re.search(r'(src|href)="/media/', page.content.decode())
    payload = owner_client.get(f"/api/v1/analyses/{finished.pk}/").json()
    assert "/media/" not in json.dumps(payload)
    assert payload["pictures"] == {"expires_at": "2026-03-31T12:00:00+00:00", "deleted_at": "2026-03-31T12:00:00+00:00"}
    picture = owner_client.get(f"/media/{finished.pk}/tracks/0.jpg")
    assert (picture.status_code, "pictures of the faces were deleted on" in text(picture)) == (410, True)
    assert owner_client.get("/analyses/").status_code == 200
    assert report_pdf(Analysis.objects.select_related("upload").get(pk=finished.pk)).startswith(b"%PDF")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_cannot_be_tried_again_says_so(status, owner_client, owner):
    upload = factories.make_upload(owner, media_deleted_at=timezone.now(), media_deleted_reason="expired")
    analysis = factories.make_analysis(upload=upload, status=status, error_code="internal_error")
    page = owner_client.get(analysis.get_absolute_url())
    assert "The file was deleted since; to have it analysed, send it again." in text(page)
    assert "/retry/" not in page.content.decode()
    answer = owner_client.post(f"{analysis.get_absolute_url()}retry/", follow=True)
    assert "The file was deleted on" in text(answer)


def test_running_anew_from_the_history_leaves_out_what_is_gone(owner_client, finished, owner):
    retention.end_now(finished, by=owner)
    answer = owner_client.post("/analyses/bulk/", {"action": "retry", "analysis": str(finished.pk)}, follow=True)
    assert "1 was left alone: it is not finished yet, or its file was deleted." in text(answer)


def test_a_held_file_says_so(owner_client, finished):
    retention.hold(finished)
    page = text(owner_client.get(finished.get_absolute_url()))
    assert "The file is kept for the reviewers, at most until March 15, 2026, noon UTC." in page


def test_strangers_find_nothing(client, stranger, finished, on_disk):
    client.force_login(stranger)
    before = on_disk()
    for address in ("delete", "keep"):
        assert client.post(f"{finished.get_absolute_url()}file/{address}/", {"retain_seconds": 0}).status_code == 404
    assert client.patch(f"/api/v1/analyses/{finished.pk}/media/").status_code == 404
    assert client.delete(f"/api/v1/analyses/{finished.pk}/media/").status_code == 404
    assert on_disk() == before
    retention.end_now(finished, by=finished.upload.user)
    assert client.get(f"/media/{finished.pk}/source").status_code == 404
    assert client.get("/api/v1/deletions/").json()["results"] == []
    assert "Nothing yet." in text(client.get("/accounts/storage/"))
    client.logout()
    assert client.get("/accounts/storage/")["Location"].startswith("/accounts/login/")


def test_files_and_storage(owner_client, finished, owner, finish):
    page = text(owner_client.get("/accounts/storage/"))
    assert "1 file of yours is stored," in page
    assert "There is room for 2.0 GB." in page
    assert owner_client.post("/accounts/storage/", {"retain_seconds": "86401"}).status_code == 400
    assert owner_client.post("/accounts/storage/", {"retain_seconds": "600"}).status_code == 302
    assert retention.usual(owner) == 600
    retention.end_now(finished, by=owner)
    page = text(owner_client.get("/accounts/storage/"))
    assert "0 files of yours are stored" in page
    assert f"File {finished.upload.name}" in page
    assert finished.upload.sha256 in page
    assert 'value="600" selected' in owner_client.get("/accounts/storage/").content.decode()
    assert 'value="600" selected' in owner_client.get("/").content.decode()


def test_an_upload_may_say_how_long(owner_client, owner):
    def send(**fields):
        return owner_client.post(
            "/upload/", {"file": factories.uploaded(), **fields}, headers={"Accept": "application/json"}
        )

    assert send(retain_seconds="0").status_code == 202
    assert Upload.objects.latest("created_at").keep_seconds == 0
    assert send().status_code == 202
    assert Upload.objects.latest("created_at").keep_seconds == 3600
    refused = send(retain_seconds="100000000")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    answer = owner_client.post("/upload/", {"file": factories.uploaded(), "retain_seconds": "600"})
    assert answer.status_code == 302
    assert Upload.objects.latest("created_at").keep_seconds == 600


def test_there_is_only_so_much_room(owner_client, owner, settings, on_disk):
    settings.STORAGE_BYTES = 2 * len(factories.jpeg())
    file = factories.uploaded
    two = owner_client.post("/upload/", {"file": [file(), file(), file()]})
    assert (two.status_code, "There is no room for this: your files may take" in text(two)) == (409, True)
    assert on_disk() == []
    assert owner_client.post("/upload/", {"file": [file(), file()]}).status_code == 302
    full = owner_client.post("/api/v1/analyses/", {"file": file(), "force": "true"})
    assert (full.status_code, full.json()["code"]) == (409, "storage_full")
    assert len(on_disk()) == 2
    usage = owner_client.get("/api/v1/usage/").json()["stored"]
    assert usage == {
        "files": 2,
        "bytes": settings.STORAGE_BYTES,
        "limit": settings.STORAGE_BYTES,
        "remaining": 0,
        "retain_seconds": 3600,
    }
    Upload.objects.update(media_deleted_at=timezone.now())
    assert owner_client.post("/upload/", {"file": file()}).status_code == 302, "what is deleted takes no room"


# -- Programs ---------------------------------------------------------------------------------------------------------


def test_programs_are_told_the_same(owner_client, finished, clock):
    address = f"/api/v1/analyses/{finished.pk}/"
    media = owner_client.get(address).json()["media"]
    assert media["expires_at"] == "2026-03-01T13:00:00+00:00"
    assert (media["retain_seconds"], media["deleted_at"], media["held_until"]) == (3600, None, None)
    changed = owner_client.patch(f"{address}media/", {"retain_seconds": 7200}, content_type="application/json")
    assert changed.json()["media"]["expires_at"] == "2026-03-01T14:00:00+00:00"
    assert owner_client.get(address).json()["expires_at"] == "2027-03-01T12:00:00+00:00"
    bad = owner_client.patch(f"{address}media/", {"retain_seconds": 10**7}, content_type="application/json")
    assert (bad.status_code, bad.json()["code"]) == (400, "invalid_request")
    assert owner_client.delete(f"{address}media/").status_code == 204
    media = owner_client.get(address).json()["media"]
    assert (media["url"], media["expires_at"], media["deleted_reason"]) == (None, None, "user")
    assert media["deleted_at"] == "2026-03-01T12:00:00+00:00"
    for again in (owner_client.delete(f"{address}media/"), owner_client.post(f"{address}retry/")):
        assert (again.status_code, again.json()["code"]) == (410, "media_deleted")
    (receipt,) = owner_client.get("/api/v1/deletions/").json()["results"]
    assert (receipt["what"], receipt["reason"], receipt["sha256"]) == ("file", "user", finished.upload.sha256)
    assert receipt["deleted_at"].startswith("2026-03-01T12:00:00")


def test_a_program_says_how_long_a_file_is_kept(owner_client, owner):
    sent = owner_client.post("/api/v1/analyses/", {"file": factories.uploaded(), "retain_seconds": "90"})
    assert sent.status_code == 202
    assert Upload.objects.get().keep_seconds == 90
    waiting = owner_client.delete(f"/api/v1/analyses/{sent.json()['id']}/media/")
    assert (waiting.status_code, waiting.json()["code"]) == (409, "conflict")
    assert owner_client.get(f"/api/v1/analyses/{sent.json()['id']}/").json()["media"]["expires_at"] is None


def test_the_report_says_what_is_gone(owner_client, finished, owner):
    retention.end_now(finished, by=owner)
    report = owner_client.get(f"/api/v1/analyses/{finished.pk}/report.json").json()
    assert report["analysis"]["media"]["deleted_at"] == "2026-03-01T12:00:00+00:00"
    import io

    from pypdf import PdfReader

    pdf = owner_client.get(f"/api/v1/analyses/{finished.pk}/report.pdf").content
    words = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)
    assert "File deleted 2026-03-01 12:00:00 UTC" in re.sub(r"\s+", " ", words)


def test_bytes_whose_pictures_are_gone_are_analysed_anew(owner, finished):
    from detection import services, serving

    Analysis.objects.update(**serving.columns(serving.served()))
    Upload.objects.update(sha256=services.sha256_of(validators.accept(factories.uploaded())))

    def found():
        return services.earlier_result(user=owner, upload=validators.accept(factories.uploaded()))

    assert found() == finished
    retention.delete_pictures(finished.pk, reason="user")
    assert found() is None


def test_receipts_come_in_pages(owner_client, owner, settings):
    DeletionReceipt.objects.bulk_create(
        DeletionReceipt(
            user=owner,
            upload_id="5b0f9c7e-2a37-4d6b-8a53-1f4a2c9d7e66",
            what="file",
            reason="user",
            sha256="0" * 64,
            deleted_at=timezone.now() - timedelta(minutes=number),
        )
        for number in range(60)
    )
    first = owner_client.get("/api/v1/deletions/").json()
    assert len(first["results"]) == 20
    assert len(owner_client.get(first["next"]).json()["results"]) == 20
    assert owner_client.get("/accounts/storage/?page=2").content.count(b"SHA-256 <code") == 10


# -- The privacy page -------------------------------------------------------------------------------------------------


def privacy(client: Client, language: str = "en") -> str:
    return text(client.get("/privacy/", headers={"Accept-Language": language}))


def test_the_privacy_page_is_for_everybody_and_linked_everywhere(client, db):
    assert 'href="/privacy/"' in client.get("/").content.decode()
    assert "1 hour after its result, or after the analysis has failed or was cancelled." in privacy(client)


def test_the_privacy_page_changes_with_the_settings(client, db, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    before = privacy(client)
    for words in ("30 days after the result.", "365 days, or until you delete them.", "1 day at most, for one file"):
        assert words in before, words
    assert "This site sends no e-mail" in before
    assert "are written there whole, with addresses" in before
    assert "/predict" not in before
    settings.MEDIA_SECONDS = 0
    settings.MEDIA_MAX_SECONDS = 7 * 86400
    settings.PICTURES_DAYS = 3
    settings.RESULTS_DAYS = 0
    settings.HOLD_DAYS = 5
    settings.RECEIPT_DAYS = 77
    settings.IDEMPOTENCY_HOURS = 7
    settings.STORAGE_BYTES = 0
    settings.OPEN_PREDICT = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "mail.example.org"
    settings.SESSION_COOKIE_NAME = "veriframe_session"
    settings.SESSION_COOKIE_AGE = 3600
    settings.HTTPS = True
    after = privacy(client)
    for words in (
        "Until its result is there, or the analysis has failed or was cancelled.",
        "7 days at most",
        "3 days after the result.",
        "5 days at most",
        "77 days. When your account is deleted",
        "Answers for 7 hours, the log for 30 days.",
        "What is sent to /predict without an account File, pictures and result: 1 hour.",
        "go through the mail server mail.example.org.",
        "veriframe_session Keeps you signed in, and takes a message from one page to the next. It lasts 1 hour",
    ):
        assert words in after, words
    for words in (
        "Your files may take",
        "written there whole",
        "This site sends no e-mail",
        "365 days, or",
        "does not insist",
    ):
        assert words not in after, words


def test_the_privacy_page_names_every_cookie_that_there_is(client, owner, settings):
    """Those of a visitor who changes the language, signs in, sends a file, keeps it longer, and signs out."""
    client.post("/language/", {"language": "en", "next": "/"})
    assert client.get("/accounts/login/").status_code == 200
    assert sign_in(client, owner.email).status_code == 302
    seen = set(client.cookies)
    sent = client.post("/upload/", {"file": factories.uploaded(), "retain_seconds": "3600"})
    assert sent.status_code == 302
    client.post(f"{sent['Location']}file/keep/", {"retain_seconds": "86400"})
    seen |= set(client.cookies)
    assert "Saved." in text(client.get(sent["Location"]))
    client.post("/accounts/logout/")
    seen |= set(client.cookies)
    told = set(re.findall(r"<code>(\w+)</code>", client.get("/privacy/").content.decode()))
    assert seen == told == {"sessionid", "csrftoken", "django_language"}
