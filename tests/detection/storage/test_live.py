"""Web server, worker, client and bucket, each as it is."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from detection.client import Client, Problem
from tests import factories
from tests.buckets import S3
from tests.detection.person import Person, ended
from tests.e2e.server import ROOT, Server

PORTRAIT = ROOT / "static" / "samples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def s3(s3_url: str) -> S3:
    return S3(s3_url)


@pytest.fixture(scope="module")
def server(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("site"), **s3.settings) as server:
        yield server


def test_a_picture_s_way(server: Server, s3: S3):
    with Person(server) as person:
        done = person.wait(person.upload(PORTRAIT)["id"], ended)
        assert done["status"] == "succeeded", done
        keys = s3.objects()
        assert {key.rsplit("/", 1)[1] for key in keys} == {"source.jpg", "0.jpg", "0.png"}
        assert [path for path in (server.folder / "media").rglob("*") if path.is_file()] == []

        page = person.http.get(f"/analyses/{done['id']}/", headers={"Accept": "text/html"})
        policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
        assert s3.url in policy["img-src"].split()
        assert s3.url in policy["media-src"].split()
        assert s3.url not in policy["default-src"]

        token = person.make_token()
        with Client(server.url, token) as client:
            assert client.file(done["id"]) == PORTRAIT.read_bytes()
            assert client.file(done["id"], "faces/0.jpg").startswith(b"\xff\xd8")
            assert client.report(done["id"], "pdf").startswith(b"%PDF")
            with pytest.raises(Problem, match="not_found"):
                client.file(done["id"], "faces/99.jpg")
            client.delete(done["id"])
        assert s3.objects() == []


def test_the_client_shows_its_token_to_nobody_else(server: Server, s3: S3, monkeypatch: pytest.MonkeyPatch):
    asked: list[httpx.Request] = []
    send = httpx.HTTPTransport.handle_request

    def noted(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return send(transport, request)

    with Person(server) as person:
        analysis_id = person.post("grey.jpg", factories.jpeg((320, 240))).json()["id"]
        token = person.make_token()
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", noted)
    with Client(server.url, token) as client:
        client.file(analysis_id)
    here, there = asked
    assert here.headers["Authorization"] == f"Token {token}"
    assert f"{urlsplit(str(there.url)).scheme}://{urlsplit(str(there.url)).netloc}" == s3.url
    assert token not in str(there.url) + str(there.headers)
