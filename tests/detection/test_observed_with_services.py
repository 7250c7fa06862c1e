"""One upload, seen from outside: web server and worker in processes of their own, on Redis."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import factories, services
from tests.conftest import lacking
from tests.detection.person import PATIENCE, Person, ended
from tests.detection.test_with_services import Worker
from tests.e2e.server import Server

pytestmark = pytest.mark.services
TOKEN = "a-token-for-prometheus"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        lacking("needs redis-server (Debian: apt install redis-server)")
    with services.redis_server(tmp_path) as url:
        server = Server(
            tmp_path,
            REDIS_URL=url,
            VERIFRAME_LOG_FORMAT="json",
            VERIFRAME_METRICS_TOKEN=TOKEN,
            VERIFRAME_METRICS_PORT=str(services.free_port()),
            VERIFRAME_THREADS="1",
        )
        with server:
            yield server


def lines(server: Server) -> list[dict[str, Any]]:
    """The log of both; every line that is whole must be an object."""
    return [json.loads(line) for line in server.log.read_text().splitlines(keepends=True) if line.endswith("}\n")]


def figures(url: str) -> str:
    return httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60).raise_for_status().text


def ports(server: Server) -> list[int]:
    """Where workers show their figures: at the first port that was free when they came."""
    assert server.process is not None
    said = (line for line in lines(server) if line["process"] != server.process.pid)
    return [int(line["message"].split()[-1]) for line in said if line["message"].startswith("figures for Prometheus")]


def test_one_upload_from_the_request_to_the_worker(server: Server):
    with Person(server) as person:
        worker = Worker(server.environment, server.log)
        try:
            # The first sweep finds a Redis that remembers nothing, and sends again what waits, in its own name.
            swept = 'veriframe_job_last_success_timestamp_seconds{name="detection.services.sweep"}'
            services.wait_for(lambda: swept in figures(f"{server.url}/metrics"), "the first sweep", PATIENCE)
            answer = person.post("grey.jpg", factories.jpeg((320, 240)))
            request, analysis = answer.headers["X-Request-ID"], answer.json()["id"]
            assert person.wait(analysis, ended)["status"] == "succeeded"
            # The row is the truth, and the line comes a moment later.
            services.wait_for(lambda: any("score" in line["message"] for line in lines(server)), "its line", PATIENCE)
            alive = 'veriframe_workers{queue="images",state="alive"} 1.0'
            services.wait_for(lambda: alive in figures(f"{server.url}/metrics"), "a sign of life", PATIENCE)
            (port,) = ports(server)
            site, worker_figures = figures(f"{server.url}/metrics"), figures(f"http://127.0.0.1:{port}/metrics")
        finally:
            worker.stop()
        services.wait_for(lambda: alive not in figures(f"{server.url}/metrics"), "its leaving", PATIENCE)

    # Every line about it names both, in the process that took it and in the one that worked.
    about = [line for line in lines(server) if analysis in line["message"]]
    assert {(line.get("request_id"), line.get("analysis_id")) for line in about} == {(request, analysis)}
    assert len({line["process"] for line in about}) == 2
    assert 'veriframe_verdicts_total{kind="image",' in worker_figures
    assert 'veriframe_stage_seconds_count{kind="image",stage="decode"} 1.0' in worker_figures
    assert 'veriframe_messages_total{actor="analyse",outcome="done"} 1.0' in worker_figures
    assert "process_resident_memory_bytes" in worker_figures
    assert 'veriframe_upload_bytes_count{kind="image"} 1.0' in site
    assert "veriframe_verdicts_total{" not in site
