"""Pages: what an owner sees and does, what a form answers to bad input."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from accounts.models import User
from detection.models import Analysis, Upload
from tests import clips, factories

pytestmark = pytest.mark.django_db
JSON = {"Accept": "application/json"}


def send(client: Client, *files, headers: dict[str, str] | None = None):
    return client.post(reverse("detection:upload"), {"file": list(files)}, headers=headers)


def test_anonymous_visitors_get_the_landing_page(client: Client):
    response = client.get("/")
    assert response.status_code == 200
    assert "detection/landing.html" in [t.name for t in response.templates]


def test_programs_get_the_health_answer_at_the_root(client: Client, settings: LazySettings):
    for response in (client.get("/", headers=JSON), client.get("/health/")):
        assert response.json() == {"status": "ok", "version": settings.VERSION}
    assert client.get("/", headers={"Accept": "*/*"})["Content-Type"].startswith("text/html")


def test_an_owner_gets_the_upload_page(owner_client: Client, owner: User):
    recent = [factories.make_analysis(owner, status="cancelled") for _ in range(7)]
    response = owner_client.get("/")
    assert response.status_code == 200
    assert [a.pk for a in response.context["recent"]] == [a.pk for a in reversed(recent[2:])]
    assert response.context["max_upload_bytes"] == 100 * 1024 * 1024
    assert "webp" in response.context["allowed_extensions"]


def test_the_upload_page_forgets_nothing_that_still_runs(owner_client: Client, owner: User):
    waiting = factories.make_analysis(owner)
    newer = [factories.make_analysis(owner, status="succeeded", verdict="authentic") for _ in range(6)]
    shown = [a.pk for a in owner_client.get("/").context["recent"]]
    assert shown == [a.pk for a in reversed(newer[1:])] + [waiting.pk]


def test_one_file_leads_to_its_analysis(owner_client: Client, owner: User, queued, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        response = send(owner_client, factories.uploaded())
    analysis = Analysis.objects.get()
    assert response.status_code == 302
    assert response["Location"] == analysis.get_absolute_url()
    assert analysis.upload.user == owner
    assert queued() == [str(analysis.pk)]


def test_several_files_lead_to_the_history(owner_client: Client):
    response = send(owner_client, factories.uploaded("a.jpg"), factories.uploaded("b.jpg"))
    assert response["Location"] == reverse("detection:analysis_list")
    assert sorted(Upload.objects.values_list("name", flat=True)) == ["a.jpg", "b.jpg"]


def test_one_bad_file_among_several_refuses_all_and_says_which(owner_client: Client, media_root: Path):
    response = send(owner_client, factories.uploaded("a.jpg"), factories.uploaded("b.mp4", b"only text"))
    assert response.status_code == 415
    assert "b.mp4" in response.content.decode()
    assert not Upload.objects.exists()
    assert list(media_root.iterdir()) == []


def test_a_program_gets_202_and_where_to_follow(owner_client: Client):
    response = send(owner_client, factories.uploaded("clip.jpg"), headers=JSON)
    analysis = Analysis.objects.get()
    assert response.status_code == 202
    assert response.json() == {
        "id": str(analysis.pk),
        "external_id": "",
        "status": "queued",
        "mode": "standard",
        "waits_for": "queue",  # nothing is sent before the transaction that this test is in has ended
        "eta_seconds": None,
        "reused": False,
        "sha256": analysis.upload.sha256,
        "poll_url": f"http://testserver/api/v1/analyses/{analysis.pk}/",
        "ws_url": f"ws://testserver/ws/analyses/{analysis.pk}/",
        "page_url": f"http://testserver/analyses/{analysis.pk}/",
    }


def test_over_https_the_socket_is_secure(owner_client: Client):
    response = owner_client.post("/upload/", {"file": factories.uploaded()}, headers=JSON, secure=True)
    assert response.json()["ws_url"].startswith("wss://testserver/ws/")


def _bad_files(folder: Path) -> dict[str, list]:
    huge, nothing = clips.png_header(folder / "h.png", 30_000, 30_000), clips.png_header(folder / "n.png", 0, 0)
    return {
        "missing_file": [],
        "empty_file": [factories.uploaded("empty.mp4", b"")],
        "unsupported_type": [factories.uploaded("notes.txt", b"text")],
        "content_mismatch": [factories.uploaded("text.mp4", b"only text")],
        "content_mismatch 0x0": [factories.uploaded("none.png", nothing.read_bytes())],
        "too_many_pixels": [factories.uploaded("huge.png", huge.read_bytes())],
        "file_too_large": [factories.uploaded("big.jpg", factories.jpeg() + b"\0" * 5000)],
    }


STATUS = {
    "missing_file": 400,
    "empty_file": 400,
    "unsupported_type": 415,
    "content_mismatch": 415,
    "too_many_pixels": 413,
    "file_too_large": 413,
}


@pytest.mark.parametrize("case", [*STATUS, "content_mismatch 0x0"])
def test_each_refusal_has_its_code_as_json_and_its_words_on_the_page(
    owner_client: Client, tmp_path: Path, media_root: Path, settings: LazySettings, case: str
):
    settings.MAX_UPLOAD_BYTES = 5000
    code = case.split()[0]
    for path in ("/upload/", "/api/v1/analyses/"):
        response = owner_client.post(path, {"file": _bad_files(tmp_path)[case]}, headers=JSON)
        assert response.status_code == STATUS[code]
        assert response["Content-Type"] == "application/problem+json"
        body = response.json()
        assert (body["code"], body["status"], body["type"]) == (code, STATUS[code], "about:blank")
        assert body["title"]
        assert body["detail"]
    page = send(owner_client, *_bad_files(tmp_path)[case])
    assert page.status_code == STATUS[code]
    assert body["detail"] in page.content.decode()
    assert not Upload.objects.exists()
    assert list(media_root.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/x.jpg",
        "a\\b\\c.jpg",
        "q\"uo`te's.jpg",
        "🎬👩‍🎤.jpg",
        "é" * 300 + ".jpg",
        "<script>alert(1)</script>.jpg",
    ],
)
def test_strange_names_are_taken_and_shown_safely(owner_client: Client, media_root: Path, name: str):
    file = factories.uploaded()
    file._name = name  # as a hostile client would send it, past what SimpleUploadedFile cleans
    response = send(owner_client, file)
    assert response.status_code == 302, response.content.decode()
    upload = Upload.objects.get()
    assert not re.search(r"[/\\\"'`]", upload.name)
    assert len(upload.name) <= 200
    assert upload.file.name == f"{upload.pk}/source.jpg"
    page = owner_client.get(response["Location"])
    assert page.status_code == 200
    assert "<script>alert" not in page.content.decode()


@pytest.mark.parametrize("status", ["queued", "running", "failed", "cancelled"])
def test_the_page_of_an_analysis_without_a_result(owner_client: Client, owner: User, status: str):
    analysis = factories.make_analysis(owner, status=status, error_code="timed_out" if status == "failed" else "")
    response = owner_client.get(analysis.get_absolute_url())
    assert response.status_code == 200
    assert response.context["report"]["result"] is None


def test_the_page_of_a_result(owner_client: Client, owner: User):
    analysis = factories.make_result(owner)
    response = owner_client.get(analysis.get_absolute_url())
    assert response.status_code == 200
    assert response.context["report"]["result"]["verdict"] == "manipulated"


@pytest.mark.parametrize("kind", ["video", "image"])
def test_without_a_face_there_is_nothing_to_operate(owner_client: Client, owner: User, kind: str):
    upload = factories.make_upload(owner, kind=kind)
    nobody = factories.make_analysis(upload=upload, status="succeeded", verdict="inconclusive")
    page = owner_client.get(nobody.get_absolute_url()).content.decode()
    assert 'id="stage-area"' in page
    for part in ("zoom-in", "show-boxes", "viewer-keys", "inspector"):
        assert f'id="{part}"' not in page


@pytest.mark.parametrize("count", [0, 1, 45])
def test_the_history(owner_client: Client, owner: User, count: int, django_assert_max_num_queries):
    upload = factories.make_upload(owner)
    for _ in range(count):
        factories.make_analysis(upload=upload)
    with django_assert_max_num_queries(5):
        response = owner_client.get("/analyses/")
    assert response.context["page_obj"].paginator.count == count
    assert len(response.context["page_obj"]) == min(count, 20)
    assert owner_client.get("/analyses/?page=99").status_code == 200
    assert owner_client.get("/analyses/?page=x").status_code == 200


def test_cancel_retry_delete_from_the_page(
    owner_client: Client, owner: User, media_root: Path, django_capture_on_commit_callbacks
):
    analysis = factories.make_analysis(owner)
    page = analysis.get_absolute_url()
    assert owner_client.post(f"{page}cancel/")["Location"] == page
    assert Analysis.objects.get().status == "cancelled"
    assert owner_client.post(f"{page}retry/")["Location"] == page
    assert Analysis.objects.get().status == "queued"
    assert owner_client.get(f"{page}delete/").status_code == 200
    assert Analysis.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        response = owner_client.post(f"{page}delete/")
    assert response["Location"] == "/analyses/"
    assert response["Clear-Site-Data"] == '"cache"', "what the browser has kept of its pictures goes, too"
    assert not Upload.objects.exists()
    assert list(media_root.iterdir()) == []


def test_a_button_on_a_page_that_is_out_of_date(owner_client: Client, owner: User):
    analysis = factories.make_analysis(owner, status="succeeded", verdict="authentic")
    response = owner_client.post(f"{analysis.get_absolute_url()}cancel/", follow=True)
    assert "has ended already" in response.content.decode()
    response = owner_client.post(f"{analysis.get_absolute_url()}cancel/", headers=JSON)
    assert (response.status_code, response.json()["code"]) == (409, "conflict")


def test_uploading_needs_a_sign_in(client: Client):
    assert send(client, factories.uploaded())["Location"] == reverse("account_login")
    response = send(client, factories.uploaded(), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")


def test_the_address_of_the_form_leads_home(owner_client: Client):
    assert owner_client.get("/upload/")["Location"] == "/"


def test_a_form_without_its_token_is_refused(owner: User):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    for path in ("/upload/", "/api/v1/analyses/"):
        response = client.post(path, {"file": factories.uploaded()}, headers=JSON)
        assert (response.status_code, response.json()["code"]) == (403, "csrf_failed")
    assert send(client, factories.uploaded()).status_code == 403
    assert not Upload.objects.exists()


def test_an_address_that_does_not_exist(client: Client):
    assert client.get("/nowhere/").status_code == 404
    assert client.get("/nowhere/", headers=JSON).json()["code"] == "not_found"
    assert client.get("/api/v1/nowhere/").json()["code"] == "not_found"


def test_a_bug_is_a_page_that_says_so(client: Client, monkeypatch: pytest.MonkeyPatch):
    def broken():
        raise ZeroDivisionError

    client.raise_request_exception = False
    monkeypatch.setattr("detection.readiness.alive", broken)
    response = client.get("/", headers=JSON)
    assert (response.status_code, response.json()["code"]) == (500, "server_error")


def test_pages_send_the_headers_that_protect_them(owner_client: Client):
    response = owner_client.get("/")
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"


def test_pages_keep_to_that_policy(owner_client: Client, owner: User, client: Client):
    analysis = factories.make_result(owner)
    for path in ("/", "/analyses/", analysis.get_absolute_url(), "/accounts/password/change/"):
        html = owner_client.get(path).content.decode()
        inline = re.findall(r"<script(?![^>]*(?:\bsrc=|application/json))[^>]*>|<style|\son\w+=|\sstyle=", html)
        assert inline == [], path
