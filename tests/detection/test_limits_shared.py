"""Limits where several processes serve one site: counted in Redis, so that a second process is no second chance."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import factories, services
from tests.conftest import lacking
from tests.detection.person import Person
from tests.e2e.server import Server

pytestmark = pytest.mark.services


@pytest.fixture
def two_servers(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    if shutil.which("redis-server") is None:
        lacking("needs redis-server (Debian: apt install redis-server)")
    (tmp_path / "redis").mkdir()
    with services.redis_server(tmp_path / "redis") as url:
        options = {"REDIS_URL": url, "VERIFRAME_LIMIT_UPLOADS": "5/d"}
        first, second = Server(tmp_path, **options), Server(tmp_path, **options)
        first.start()
        second.start()
        yield first, second
        first.stop()
        second.stop()


def test_five_uploads_are_five_whichever_process_takes_them(two_servers: tuple[Server, Server]):
    first, second = two_servers
    person = Person(first)
    headers = {"Authorization": f"Token {person.make_token()}"}
    answers = [
        httpx.post(
            f"{server.url}/api/v1/analyses/",
            files={"file": ("face.jpg", factories.jpeg())},
            headers=headers,
            timeout=60,
        )
        for server in (first, second) * 3
    ]
    person.http.close()
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0"]
    assert httpx.get(f"{second.url}/ready/").json()["checks"]["broker"] == "ok"
