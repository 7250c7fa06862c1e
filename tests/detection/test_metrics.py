"""`/metrics`: what Prometheus is told about the site, and what it is not."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import User
from config import signs
from config.asgi import application
from config.signs import SignsOfLife
from detection import gauges, runner, services, validators
from detection.engine.errors import ErrorCode, MediaError
from detection.engine.types import AnalysisResult
from detection.models import Analysis
from tests import factories
from tests.detection.sockets import Socket
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db
TOKEN = "a-token-for-prometheus"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def _token(settings: LazySettings) -> None:
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS = TOKEN, []
    cache.clear()


def scrape(client: Client | None = None) -> Samples:
    """Every figure that the site tells, by name and labels."""
    answer = (client or Client()).get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.content.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def figure(metric: str, /, **labels: str) -> float | None:
    return scrape().get((metric, frozenset(labels.items())))


def counted(metric: str, /, **labels: str) -> float:
    """Of this process, whatever ran before."""
    return REGISTRY.get_sample_value(metric, labels) or 0.0


# -- Who may read it --------------------------------------------------------------------------------------------------


def test_to_everybody_else_it_does_not_exist(client: Client, settings: LazySettings):
    administrator = factories.make_user(is_staff=True, is_superuser=True)
    client.force_login(administrator)
    for header in ("", "Bearer wrong", f"Token {TOKEN}"):
        answer = client.get("/metrics", headers={"Authorization": header})
        assert answer.status_code == 404
        assert "veriframe_" not in answer.content.decode()
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 404
    assert client.post("/metrics").status_code == 405


def test_an_allowed_network_may_read_unless_a_proxy_speaks_for_somebody_unknown(settings: LazySettings):
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS = "", [ip_network("127.0.0.0/8")]
    assert Client().get("/metrics").status_code == 200
    assert Client(REMOTE_ADDR="203.0.113.1").get("/metrics").status_code == 404
    # A proxy that nobody has told us of: the address is its own, and everybody would come from there.
    assert Client().get("/metrics", headers={"X-Forwarded-For": "203.0.113.1"}).status_code == 404
    settings.TRUSTED_PROXIES = settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    assert Client().get("/metrics", headers={"X-Forwarded-For": "203.0.113.1"}).status_code == 404
    assert Client().get("/metrics", headers={"X-Forwarded-For": "127.0.0.9"}).status_code == 200
    assert Client(REMOTE_ADDR="203.0.113.1").get("/metrics").status_code == 404  # past the proxy


def test_whoever_watches_is_not_turned_away(settings: LazySettings):
    settings.RATE_LIMITS = {"requests": {"user": "1/d", "address": "1/d"}, "uploads": {"user": None, "address": None}}
    assert len([scrape() for _ in range(3)]) == 3


# -- The site ---------------------------------------------------------------------------------------------------------


def test_what_waits_and_since_when(owner: User):
    now = timezone.now()
    old, young = factories.make_analysis(owner), factories.make_analysis(owner)
    Analysis.objects.filter(pk=old.pk).update(created_at=now - timedelta(minutes=5))
    Analysis.objects.filter(pk=young.pk).update(created_at=now - timedelta(minutes=1))
    # Sent last year, begun anew a minute ago.
    anew = factories.make_analysis(owner, revision=7, sent_at=now - timedelta(minutes=1))
    Analysis.objects.filter(pk=anew.pk).update(created_at=now - timedelta(days=365))
    factories.make_analysis(owner, status="running", lease_until=now + timedelta(minutes=1))
    factories.make_analysis(owner, status="running", lease_until=now - timedelta(minutes=1))
    assert figure("veriframe_queue_length", kind="image") == 3
    assert figure("veriframe_queue_length", kind="video") == figure("veriframe_queue_length", kind="webhook") == 0
    assert 300 <= figure("veriframe_queue_oldest_seconds", kind="image") < 360
    assert figure("veriframe_queue_oldest_seconds", kind="video") == 0
    assert figure("veriframe_analyses_running", kind="image") == 2
    assert figure("veriframe_analyses_lost") == 1
    assert figure("veriframe_database_readable") == 1


def test_workers_jobs_and_model():
    assert figure("veriframe_cache_readable") == 1
    life = SignsOfLife()
    life._queues = {1: ("images",), 2: ("videos", "webhooks")}
    life.beat()
    signs.note_job("detection.services.sweep")
    found = scrape()
    for queue in ("images", "videos", "webhooks"):
        assert found["veriframe_workers", frozenset({("queue", queue), ("state", "alive")})] == 1
        assert found["veriframe_workers", frozenset({("queue", queue), ("state", "silent")})] == 0
    assert ("veriframe_job_last_success_timestamp_seconds", frozenset({("name", "detection.services.sweep")})) in found
    (model,) = [dict(labels) for name, labels in found if name == "veriframe_model_info"]
    assert set(model) == {"model", "version", "sha256"}
    assert re.fullmatch("[0-9a-f]{12}", model["sha256"])


def test_without_rows_the_rest_is_still_told(monkeypatch):
    def away() -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(gauges, "_queue", away)
    found = scrape()
    assert found["veriframe_database_readable", frozenset()] == 0
    assert "veriframe_queue_length" not in {name for name, _labels in found}
    assert "veriframe_cache_readable" in {name for name, _labels in found}


# -- This process -----------------------------------------------------------------------------------------------------


class Timed(FakePipeline):
    """Says how long its stages took."""

    def run(self, *args: Any, **kwargs: Any) -> AnalysisResult:
        return replace(super().run(*args, **kwargs), timings={"decode": 0.25, "total": 0.5})


def test_a_result_is_counted_with_its_stages_and_its_model():
    labels = {"kind": "video", "verdict": "manipulated", "model": "fake", "version": "7"}
    before = counted("veriframe_verdicts_total", **labels), counted("veriframe_analysis_seconds_count", kind="video")
    decoded = counted("veriframe_stage_seconds_sum", kind="video", stage="decode")
    runner.run(factories.make_analysis().pk, engine=Timed())
    assert counted("veriframe_verdicts_total", **labels) == before[0] + 1
    assert counted("veriframe_analysis_seconds_count", kind="video") == before[1] + 1
    assert counted("veriframe_stage_seconds_sum", kind="video", stage="decode") == pytest.approx(decoded + 0.25)
    assert figure("veriframe_stage_seconds_count", kind="video", stage="total") is None


def test_a_failure_is_counted_by_its_code_and_once():
    def die(frame: int) -> None:
        raise MediaError(ErrorCode.UNREADABLE_MEDIA, "no")

    before = counted("veriframe_failures_total", code="unreadable_media")
    analysis = factories.make_analysis()
    for _ in range(2):  # the message comes twice
        runner.run(analysis.pk, engine=FakePipeline(between=die))
    assert counted("veriframe_failures_total", code="unreadable_media") == before + 1


def test_an_upload_is_counted_by_its_size(owner: User):
    before = {name: counted(f"veriframe_upload_bytes_{name}", kind="image") for name in ("count", "sum")}
    file = factories.uploaded()
    services.submit(user=owner, upload=validators.accept(file))
    assert counted("veriframe_upload_bytes_count", kind="image") == before["count"] + 1
    assert counted("veriframe_upload_bytes_sum", kind="image") == before["sum"] + file.size


def test_requests_are_counted_by_route_and_never_by_address(owner_client: Client):
    """Whatever people ask for, the figures grow no new kinds of rows, and nobody's ids are in them."""

    def ask(secret: str) -> None:
        owner_client.get(f"/analyses/{uuid.uuid4()}/")
        owner_client.get(f"/analyses/?search={secret}")
        owner_client.get(f"/nowhere/{secret}")
        owner_client.get(f"/static/{secret}.css")
        owner_client.get(f"/admin/{secret}/")
        owner_client.generic(secret.upper(), "/")
        owner_client.get(f"/api/v1/analyses/{uuid.uuid4()}/", headers={"X-Request-ID": secret})

    labels = {"method": "GET", "route": "detection:analysis_detail", "status": "404"}
    before = counted("veriframe_requests_total", **labels)
    ask("private-one")
    rows = set(scrape())
    ask("private-two")
    after = scrape()
    assert set(after) == rows
    assert counted("veriframe_requests_total", **labels) == before + 2
    assert "private" not in str(after).lower()
    # Neither "job" nor "instance", which are Prometheus' own: it would rename ours.
    assert {name for _name, pairs in after for name, _value in pairs} <= {
        "method", "route", "status", "le", "kind", "stage", "code", "verdict", "model", "version", "sha256", "actor",
        "outcome", "name", "queue", "state", "generation", "implementation", "major", "minor", "patchlevel",
    }  # fmt: skip


def test_no_figure_names_a_person_or_a_file(owner: User, owner_client: Client):
    analysis = factories.make_result(owner)
    owner_client.get(f"/analyses/{analysis.pk}/")
    text = str(scrape())
    for private in (owner.email, "example.org", str(analysis.pk), str(analysis.upload_id), analysis.upload.name):
        assert private not in text


@pytest.mark.django_db(transaction=True)
async def test_open_sockets_are_counted(settings: LazySettings):
    """Also of those who are refused: for the moment that it takes."""
    path = f"/ws/analyses/{uuid.uuid4()}/"
    before = counted("veriframe_open_websockets")
    stranger = Socket(application, path, headers=[(b"origin", b"http://localhost"), (b"host", b"localhost")])
    await stranger.send_input({"type": "websocket.connect"})
    answer = await stranger.receive_output(60)
    assert answer["type"] == "websocket.close"
    assert counted("veriframe_open_websockets") == before + 1
    await stranger.disconnect()
    assert counted("veriframe_open_websockets") == before


# -- The page for people ----------------------------------------------------------------------------------------------


def test_the_page_shows_which_workers_live(client: Client, monkeypatch):
    page = "/admin/detection/queuedanalysis/statistics/"
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    assert "There is none: what is sent waits." in client.get(page).content.decode()
    analysis = factories.make_analysis(status="running")
    life = SignsOfLife()
    life._queues = {1: ("videos",)}
    life._tasks = {1: signs.Task("analyse", str(analysis.pk), 0.0)}
    life.beat()
    shown = client.get(page).content.decode()
    assert f"/admin/detection/analysis/{analysis.pk}/change/" in shown
    assert "videos" in shown
    assert "<strong>silent</strong>" not in shown
    monkeypatch.setattr(signs, "SILENT_AFTER", -1.0)
    assert "<strong>silent</strong>" in client.get(page).content.decode()
    monkeypatch.setattr("detection.review.statistics.signs.workers", lambda: None)
    assert "Nobody knows" in client.get(page).content.decode()
