"""``/predict`` and its neighbours: the words of the five older servers, from stored rows.

With a real worker behind them they are asked in test_older_servers.py.
"""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from accounts.models import User
from detection import open_access, readiness, services, serving
from detection.models import Analysis, Upload
from tests import factories

pytestmark = pytest.mark.django_db
S0_KEYS = {"prediction", "deepfake_ratio", "total_frames", "deepfake_frames"}
S1_KEYS = {"status", "prediction", "confidence", "frames", "anomalies"}


@pytest.fixture(autouse=True)
def _no_waiting(settings: LazySettings):
    settings.PREDICT_SECONDS = 0


@pytest.fixture
def open_site(settings: LazySettings) -> None:
    settings.OPEN_PREDICT = True


def send(client: Client, path: str = "/predict", **options):
    return client.post(path, {"file": factories.uploaded()}, **options)


def result(owner: User, **fields) -> Analysis:
    analysis = factories.make_result(owner)
    Analysis.objects.filter(pk=analysis.pk).update(**fields)
    analysis.refresh_from_db()
    return analysis


def predicted(client: Client, analysis: Analysis, **query: str) -> dict:
    return client.get(f"/predict/{analysis.pk}/", query).json()


def test_the_union_of_what_the_older_servers_answered(owner_client: Client, owner: User):
    analysis = result(owner)
    analysis.tracks.filter(number=0).update(verdict="manipulated", score=0.91)
    body = predicted(owner_client, analysis)
    assert set(body) >= S0_KEYS | S1_KEYS
    assert (body["status"], body["prediction"], body["confidence"]) == ("success", "Deepfake", 0.91)
    assert (body["total_frames"], body["deepfake_frames"]) == (3, 1)
    assert body["deepfake_ratio"] == pytest.approx(1 / 3)
    assert body["frames"][0] == f"http://testserver/media/{analysis.pk}/faces/0.jpg"
    assert body["anomalies"][0] == "Person 1: Strong signs of manipulation (score 0.91)"


@pytest.mark.parametrize(
    ("verdict", "score", "labels", "prediction", "confidence"),
    [
        ("manipulated", 0.99, "", "Deepfake", 0.99),
        ("manipulated", 0.99, "fake", "Fake", 0.99),
        ("suspicious", 0.92, "", "Deepfake", 0.92),
        ("authentic", 0.2, "", "Real", 0.8),
        ("authentic", 0.2, "fake", "Real", 0.8),
        ("inconclusive", None, "fake", "Inconclusive", None),
    ],
)
def test_the_words(owner_client: Client, owner: User, verdict, score, labels, prediction, confidence):
    body = predicted(owner_client, result(owner, verdict=verdict, score=score), labels=labels)
    assert (body["prediction"], body["confidence"], body["verdict"]) == (prediction, confidence, verdict)


def test_what_cannot_be_told_says_why(owner_client: Client, owner: User):
    reasons = [{"code": "no_face", "message": "No face was found."}]
    body = predicted(owner_client, result(owner, verdict="inconclusive", score=None, reasons=reasons))
    assert body["anomalies"] == ["No face was found."]


def test_longer_than_one_waits_is_202_and_can_be_asked_for(owner_client: Client):
    answer = send(owner_client)
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    assert answer["Location"] == answer.json()["poll_url"]
    assert answer["Retry-After"]
    again = owner_client.get(answer.json()["poll_url"])
    assert (again.status_code, again["Retry-After"]) == (202, "1")


def test_with_and_without_its_slash(owner_client: Client):
    assert send(owner_client, "/predict").status_code == send(owner_client, "/predict/").status_code == 202


def test_the_same_bytes_are_answered_at_once(owner_client: Client, owner: User):
    send(owner_client)
    Analysis.objects.update(status="succeeded", verdict="authentic", score=0.1, **serving.columns(serving.served()))
    answer = send(owner_client)
    assert (answer.status_code, answer.json()["prediction"]) == (200, "Real")


def test_an_analysis_that_failed_or_was_cancelled(owner_client: Client, owner: User):
    failed = factories.make_analysis(owner, status="failed", error_code="timed_out", error_message="Too long.")
    answer = owner_client.get(f"/predict/{failed.pk}/")
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (422, "analysis_failed", "Too long.")
    cancelled = factories.make_analysis(owner, status="cancelled")
    assert owner_client.get(f"/predict/{cancelled.pk}/").json()["code"] == "conflict"


def test_one_must_be_signed_in(client: Client):
    answer = send(client)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert not Upload.objects.exists()


# -- Opened by the site's owner ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("open_site")
def test_open_to_everybody_the_address_is_the_key(client: Client, media_root: Path, async_client_of, stranger: User):
    answer = send(client)
    assert answer.status_code == 202
    analysis = Analysis.objects.get()
    assert analysis.upload.user.email == open_access.EMAIL
    poll = answer.json()["poll_url"]
    assert client.get(poll).status_code == 202
    assert client.get(poll.partition("?")[0]).status_code == 404
    assert client.get(poll[:-3] + "xyz").status_code == 404
    # Not even with its key does anything else open than the analysis that it was made for.
    other = factories.make_result(stranger)
    assert client.get(f"/predict/{other.pk}/?{urlsplit(poll).query}").status_code == 404
    assert client.get(f"/media/{other.pk}/source?{urlsplit(poll).query}").status_code == 404
    assert client.get(f"/media/{other.pk}/source?key={open_access.key_of(other)}").status_code == 404


@pytest.mark.usefixtures("open_site")
def test_processed_frames_are_reachable_by_their_address(client: Client, media_root: Path):
    user = open_access.open_user()
    analysis = result(user)
    picture = media_root / analysis.folder / "faces" / "0.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"face")
    body = client.get(f"/predict/{analysis.pk}/", {"key": open_access.key_of(analysis)}).json()
    shown = client.head(body["frames"][0])
    assert shown.status_code == 200
    assert shown["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert client.head(body["frames"][0].partition("?")[0]).status_code == 404


@pytest.mark.usefixtures("open_site")
def test_nobody_can_sign_in_as_everybody(client: Client):
    send(client)
    user = open_access.open_user()
    assert (user.is_active, user.has_usable_password()) == (False, False)
    assert User.objects.filter(email=open_access.EMAIL).count() == 1
    form = {"email": open_access.EMAIL, "password1": factories.PASSWORD, "password2": factories.PASSWORD}
    assert "email" in client.post("/accounts/signup/", form).context["form"].errors


@pytest.mark.usefixtures("open_site")
def test_strangers_share_nothing(client: Client):
    """Neither results by bytes, nor answers by key, nor calls to addresses of their choice."""
    key = {"Idempotency-Key": "k"}
    first = send(client, headers=key).json()["id"]
    Analysis.objects.update(status="succeeded", verdict="authentic", score=0.1)
    second = client.post(
        "/predict", {"file": factories.uploaded(), "callback_url": "https://example.org/"}, headers=key
    )
    assert second.json()["id"] != first
    assert Analysis.objects.get(pk=second.json()["id"]).callback_url == ""


@pytest.mark.usefixtures("open_site")
def test_after_an_hour_it_is_gone(client: Client, owner: User, stored, django_capture_on_commit_callbacks):
    kept = factories.make_analysis(owner)
    send(client)
    Analysis.objects.update(created_at=timezone.now() - timedelta(hours=2))
    with django_capture_on_commit_callbacks(execute=True):
        services.sweep()
    assert list(Analysis.objects.all()) == [kept]
    assert stored() == [f"{kept.upload_id}/source.jpg"]


@pytest.mark.usefixtures("open_site")
def test_too_many_files_of_strangers(client: Client, owner: User, settings: LazySettings, stored):
    """Nobody is told to delete what is not theirs; users have room of their own."""
    settings.STORAGE_BYTES = len(factories.jpeg())
    assert send(client).status_code == 202
    full = send(client)
    assert (full.status_code, full.json()["code"], full["Retry-After"]) == (409, "storage_full", "3600")
    assert full.json()["detail"] == "This server holds too many files of visitors for now. Try again in an hour."
    assert len(stored()) == 1
    client.force_login(owner)
    assert send(client).status_code == 202
    assert "your files may take" in send(client).json()["detail"]


@pytest.mark.usefixtures("open_site")
def test_each_address_has_the_limit_of_a_user(settings: LazySettings):
    settings.RATE_LIMITS = {
        "uploads": {"user": "2/d", "address": "9/d"},
        "requests": {"user": None, "address": None},
    }
    one, other = Client(REMOTE_ADDR="192.0.2.1"), Client(REMOTE_ADDR="192.0.2.2")
    assert [send(one).status_code for _ in range(3)] == [202, 202, 429]
    assert send(other).status_code == 202
    # Of IPv6 a household has a whole /64, which would otherwise be as many limits.
    neighbours = [Client(REMOTE_ADDR=f"2001:db8::{number}") for number in (1, 2, 3)]
    assert [send(client).status_code for client in neighbours] == [202, 202, 429]
    assert send(Client(REMOTE_ADDR="2001:db8:0:1::1")).status_code == 202


# -- Health, readiness, other origins ---------------------------------------------------------------------------------


def test_alive_and_ready(client: Client, settings: LazySettings):
    alive = {"status": "ok", "version": settings.VERSION}
    for path in ("/", "/health/"):
        assert client.get(path, headers={"Accept": "application/json"}).json() == alive
    assert client.get("/health").headers["Location"] == "/health/"
    readiness._hashed.cache_clear()
    answer = client.get("/ready/")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["checks"] == {"database": "ok", "broker": "ok", "model": "ok"}


def test_a_broker_that_is_away_is_noticed(client: Client, settings: LazySettings, monkeypatch):
    import dramatiq
    from redis import Redis

    settings.EMBEDDED = False
    unreachable = Redis(host="127.0.0.1", port=1, socket_connect_timeout=1)
    monkeypatch.setattr(dramatiq.get_broker(), "client", unreachable, raising=False)
    answer = client.get("/ready/")
    assert (answer.status_code, answer.json()["checks"]["broker"]) == (503, "failed")
    assert client.get("/health/").status_code == 200


ORIGIN = {"Origin": "http://localhost:3000"}


@pytest.mark.parametrize("path", ["/predict", "/api/v1/analyses/", "/health/", "/"])
def test_the_react_page_of_s1_may_call(client: Client, path: str):
    """What a browser asks before it sends a file with a token from http://localhost:3000."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,prefer"}
    preflight = client.options(path, headers={**ORIGIN, **asked})
    assert preflight["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert {"authorization", "prefer", "idempotency-key"} <= set(preflight["Access-Control-Allow-Headers"].split(", "))
    answer = client.get(path, headers={**ORIGIN, "Accept": "application/json"})
    assert answer["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "X-Request-ID" in answer["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer, "cookies stay at home"


def test_other_origins_may_not_and_pages_are_no_business_of_theirs(client: Client):
    assert "Access-Control-Allow-Origin" not in client.get("/health/", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in client.get("/accounts/login/", headers=ORIGIN)


async def test_a_refusal_of_the_body_limit_can_be_read_there_too():
    from config.body_limit import BodyLimit

    sent: list[dict] = []

    async def send_event(event: dict) -> None:
        sent.append(event)

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"content-length", b"99"), (b"origin", b"http://localhost:3000"), (b"accept", b"application/json")]
    await BodyLimit(None, limit=10, limits={})({"path": "/predict", "headers": headers}, receive, send_event)
    answered = dict(sent[0]["headers"])
    assert (sent[0]["status"], answered[b"access-control-allow-origin"]) == (413, b"http://localhost:3000")
    assert answered[b"x-request-id"].decode() in io.BytesIO(sent[1]["body"]).read().decode()
