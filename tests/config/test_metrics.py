"""What a process counts about itself, and who may read it."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import dramatiq
import pytest
from django.conf import LazySettings
from django.core.cache import cache
from dramatiq.brokers.stub import StubBroker
from prometheus_client import REGISTRY

from config import metrics, signs
from config.body_limit import BodyLimit
from tests import services

TOKEN = "a-token-for-prometheus"


def value(metric: str, /, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


# -- Who may read it --------------------------------------------------------------------------------------------------


def test_without_token_and_networks_nobody_may(settings: LazySettings):
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS = "", []
    for authorization in ("", "Bearer ", "Bearer None", "Bearer"):
        assert not metrics.permitted(authorization, "127.0.0.1")


def test_the_token_opens_from_everywhere(settings: LazySettings):
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS = TOKEN, []
    assert metrics.permitted(f"Bearer {TOKEN}", "")
    assert metrics.permitted(f"bearer {TOKEN}", "203.0.113.1")
    for wrong in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer ünïcödé"):
        assert not metrics.permitted(wrong, "127.0.0.1")


def test_a_network_opens_without_the_token(settings: LazySettings):
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS = TOKEN, [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    for inside in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7"):
        assert metrics.permitted("", inside)
    for outside in ("10.2.0.1", "::1", "", "nonsense"):
        assert not metrics.permitted("", outside)


# -- The port ---------------------------------------------------------------------------------------------------------


def ask(port: int, path: str = metrics.PATH, token: str = TOKEN) -> tuple[int, str]:
    request = Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def _open(settings: LazySettings) -> None:
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS, settings.METRICS_HOST = TOKEN, [], "127.0.0.1"
    settings.METRICS_PORT = services.free_port()


@pytest.mark.usefixtures("_open")
def test_a_process_answers_on_its_port_and_the_next_one_on_the_next():
    first, second = metrics.listen(), metrics.listen()
    assert first is not None
    assert second is not None
    assert first < second
    for port in (first, second):
        status, text = ask(port, f"{metrics.PATH}?name[]=none")
        assert status == 200
        assert "process_resident_memory_bytes" in text
        assert ask(port, token="wrong")[0] == ask(port, "/")[0] == ask(port, "/metrics/")[0] == 404


@pytest.mark.usefixtures("_open")
def test_no_port_at_all_is_said_and_stops_nobody(settings: LazySettings, monkeypatch, caplog):
    monkeypatch.setattr(metrics, "PORTS", 1)
    with socket.create_server(("127.0.0.1", settings.METRICS_PORT)):
        assert metrics.listen() is None
    settings.METRICS_HOST = "203.0.113.1"  # not ours
    assert metrics.listen() is None
    assert len(caplog.records) == 2
    settings.METRICS_PORT = 0
    assert metrics.listen() is None
    assert len(caplog.records) == 2


# -- Requests ---------------------------------------------------------------------------------------------------------


async def test_a_body_that_is_refused_before_django_is_counted():
    sent = []

    async def send(event: dict) -> None:
        sent.append(event)

    headers = [(b"content-length", b"99"), (b"expect", b"100-continue")]
    before = value("veriframe_requests_total", method="POST", route="none", status="413")
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    await BodyLimit(send, limit=10, limits={})(scope, send, send)
    assert sent[0]["status"] == 413
    assert value("veriframe_requests_total", method="POST", route="none", status="413") == before + 1


# -- Messages and jobs ------------------------------------------------------------------------------------------------


def test_messages_are_counted_by_what_became_of_them():
    broker = StubBroker(middleware=[metrics.WorkerMetrics()])

    @dramatiq.actor(broker=broker)
    def counted(*, fail: bool) -> None:
        if fail:
            raise OSError("no")

    for fail in (True, False, False):
        counted.send(fail=fail)
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)
    worker.start()
    broker.join("default", fail_fast=False)
    worker.join()
    worker.stop()
    assert value("veriframe_messages_total", actor="counted", outcome="done") == 2
    assert value("veriframe_messages_total", actor="counted", outcome="failed") == 1


def test_a_job_is_counted_and_its_last_success_remembered():
    cache.clear()
    with metrics.counted_job("a.job"):
        pass
    noted = signs.jobs_done(["a.job"])
    with pytest.raises(OSError, match="no"), metrics.counted_job("a.job"):
        raise OSError("no")
    assert value("veriframe_job_runs_total", name="a.job", outcome="done") == 1
    assert value("veriframe_job_runs_total", name="a.job", outcome="failed") == 1
    assert signs.jobs_done(["a.job"]) == noted != {}
    cache.clear()
