"""Bodies that are too large are refused while they arrive, by the real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from config.body_limit import DRAIN_BYTES, BodyLimit
from tests.e2e.server import Server

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A site that takes 1 MiB, and whose temporary files can be looked at."""
    folder = tmp_path_factory.mktemp("limit")
    (folder / "tmp").mkdir()
    with Server(folder, VERIFRAME_MAX_UPLOAD_MB="1", TMPDIR=str(folder / "tmp")) as server:
        yield server


def spooled(server: Server) -> int:
    """Bytes in the server's temporary files, deleted ones that are still open included."""
    assert server.process is not None
    total = 0
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            if str(server.folder / "tmp") in str(link.readlink()):
                total += link.stat().st_size
        except FileNotFoundError:
            continue  # closed between the listing and the look
    return total


def pieces(megabytes: int) -> Iterator[bytes]:
    """A body without a length, so that it is sent in chunks."""
    for _ in range(megabytes):
        yield b"x" * MEGABYTE


@pytest.mark.parametrize("path", ["/upload/", "/api/v1/analyses/", "/accounts/login/", "/"])
def test_a_body_that_says_it_is_too_large(server: Server, path: str):
    answer = httpx.post(server.url + path, content=b"x" * (5 * MEGABYTE), headers={"Accept": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "file_too_large"
    assert answer.headers["Connection"] == "close"


def test_a_browser_gets_a_page(server: Server):
    answer = httpx.post(server.url + "/upload/", content=b"x" * (5 * MEGABYTE), headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 413
    assert "too large" in answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_body_that_does_not_say_how_large_it_is(server: Server):
    answer = httpx.post(server.url + "/upload/", content=pieces(8), headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")


def test_what_is_over_the_limit_never_reaches_the_disk(server: Server):
    """Half a body of 64 MB in chunks: the server holds less than the limit, however much was sent."""
    host, port = "127.0.0.1", server.port
    with socket.create_connection((host, port), timeout=30) as client:
        client.sendall(b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(32):
            client.sendall(b"100000\r\n" + b"x" * MEGABYTE + b"\r\n")
        assert spooled(server) <= 2 * MEGABYTE
    assert httpx.get(server.url + "/health/").status_code == 200


def test_a_client_that_asks_first_need_not_send(server: Server):
    """curl sends "Expect: 100-continue" with large bodies and waits: it is told no at once."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(
            b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_length_that_is_no_number_or_a_lie(server: Server):
    """The server in front refuses these; they must not get past ours either."""
    for length in (b"-5", b"12a", b"1" * 40):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1000).split()[1:2] in ([b"400"], [b"413"], [])
    assert httpx.get(server.url + "/health/").status_code == 200


def test_a_body_within_the_limit_passes(server: Server):
    answer = httpx.post(server.url + "/upload/", content=b"x" * MEGABYTE, headers={"Accept": "application/json"})
    assert answer.status_code == 403, "refused by the form's token, not by its size"


async def test_draining_is_bounded():
    """A client that never stops sending is answered after so many bytes."""
    sent = 0

    async def receive() -> dict:
        nonlocal sent
        sent += 64 * MEGABYTE
        return {"type": "http.request", "body": bytes(64 * MEGABYTE), "more_body": True}

    answers = []

    async def send(event: dict) -> None:
        answers.append(event)

    async def never(*args) -> None:
        raise AssertionError("the application must not be asked")

    scope = {"type": "http", "path": "/", "headers": [(b"content-length", b"9999999999")]}
    await BodyLimit(never, limit=10, limits={})(scope, receive, send)
    assert answers[0]["status"] == 413
    assert sent <= DRAIN_BYTES + 64 * MEGABYTE
