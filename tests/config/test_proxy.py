"""nginx in front, with the very files that compose.yaml gives it: only addresses and folders are other ones."""

from __future__ import annotations

import asyncio
import datetime
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests import clips, factories, services
from tests.conftest import lacking
from tests.detection.person import Person, ended
from tests.e2e.server import ROOT, Server

pytestmark = pytest.mark.services

FILES = ROOT / "config" / "deploy" / "nginx"


class Proxied:
    """A server as it is seen through nginx."""

    def __init__(self, server: Server, port: int) -> None:
        self.url, self.log = f"http://127.0.0.1:{port}", server.log


class Listening(NamedTuple):
    """What nginx needs to know of a server."""

    port: int
    folder: Path


@contextmanager
def nginx(folder: Path, server: Server | Listening, config: str) -> Iterator[dict[str, int]]:
    """nginx with one of its files. Yields its ports by what they are called there."""
    if shutil.which("nginx") is None:
        lacking("needs nginx (Debian: apt install nginx-light)")
    ports = {name: services.free_port() for name in ("8080", "8443", "8081")}
    others = {
        "/tmp/": f"{folder}/",  # first: what the others put in may be below it
        "server web:8000;": f"server 127.0.0.1:{server.port};",
        "/srv/media/": f"{server.folder / 'media'}/",
        "/etc/veriframe-tls": str(folder),
        "/dev/stdout": str(folder / "access.log"),
        "listen 127.0.0.1:8081": f"listen 127.0.0.1:{ports['8081']}",
        "listen 8080": f"listen 127.0.0.1:{ports['8080']}",
        "listen 8443": f"listen 127.0.0.1:{ports['8443']}",
    }
    missing = set(others)
    for file in FILES.iterdir():
        text = file.read_text(encoding="utf-8")
        for theirs, ours in others.items():
            if theirs in text:
                missing.discard(theirs)
                text = text.replace(theirs, ours)
        (folder / file.name).write_text(text, encoding="utf-8")
    assert not missing, "what is replaced here is not in the files any more"
    # In the container it is the server's user from the start; a test that runs as root would change to another one.
    as_us = "user root;" if os.getuid() == 0 else ""
    command = ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / config), "-g", f"daemon off; {as_us}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    with services.stopped(process):
        services.wait_for(lambda: services.answers(ports["8081"]) or process.poll() is not None, "nginx")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield ports


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "VERIFRAME_X_ACCEL": "/protected-media/",
        "VERIFRAME_TRUSTED_PROXIES": "1",
        "VERIFRAME_MAX_UPLOAD_MB": "1",
    }
    with Server(tmp_path_factory.mktemp("site"), **settings) as server:
        yield server


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Proxied]:
    with nginx(tmp_path_factory.mktemp("nginx"), server, "plain.conf") as ports:
        yield Proxied(server, ports["8080"])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.video(tmp_path_factory.mktemp("clips") / "short.mp4", frames=30)


@pytest.fixture(scope="module")
def owner(proxied: Proxied) -> Iterator[Person]:
    with Person(proxied) as person:
        yield person


@pytest.fixture(scope="module")
def source(owner: Person, video: Path) -> str:
    """The address of a file whose analysis has ended."""
    done = owner.wait(owner.upload(video)["id"], ended)
    assert done["status"] == "succeeded", done
    return f"/media/{done['id']}/source"


def test_nginx_sends_what_the_server_allows(owner: Person, server: Server, source: str, video: Path):
    answer = owner.http.get(source)
    assert (answer.status_code, answer.content) == (200, video.read_bytes())
    said = answer.headers
    assert said["Content-Type"] == "video/mp4"
    assert said["Content-Disposition"] == 'inline; filename="short.mp4"'
    assert said["Cache-Control"] == "private, no-cache"
    assert said["X-Content-Type-Options"] == "nosniff"
    assert said["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'self'" in said["Content-Security-Policy"]
    assert said["X-Frame-Options"] == "DENY"
    assert said["Referrer-Policy"] == "same-origin"
    assert said["X-Request-ID"]
    assert "X-Accel-Redirect" not in said, "where files lie is nobody's business"
    assert said["Server"] == "nginx", "without a version"
    # The server itself only points there.
    pointed = httpx.get(f"{server.url}{source}", headers={"Cookie": owner.cookies()})
    assert (pointed.content, pointed.headers["X-Accel-Redirect"][:17]) == (b"", "/protected-media/")


def test_a_player_can_seek_and_what_is_cached_is_not_sent_again(owner: Person, source: str, video: Path):
    part = owner.http.get(source, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, video.read_bytes()[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{video.stat().st_size}"
    assert part.headers["X-Content-Type-Options"] == "nosniff"
    assert owner.http.get(source, headers={"Range": "bytes=99999999-"}).status_code == 416
    head = owner.http.head(source)
    assert (head.headers["Content-Length"], head.content) == (str(video.stat().st_size), b"")
    again = owner.http.get(source, headers={"If-None-Match": head.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_there_is_no_other_way_to_a_file(owner: Person, proxied: Proxied, server: Server, source: str):
    (file,) = (path for path in (server.folder / "media").rglob("source.*"))
    inside = file.relative_to(server.folder / "media").as_posix()
    for path in (f"/protected-media/{inside}", f"/static/../protected-media/{inside}", f"//protected-media/{inside}"):
        assert owner.http.get(path).status_code == 404, path
    for path in ("/protected-media/", "/protected-media/../db.sqlite3", "/protected-media../db.sqlite3", "/metrics"):
        assert owner.http.get(path).status_code == 404, path
    assert httpx.get(proxied.url + source, follow_redirects=False).status_code != 200
    with Person(proxied) as stranger:
        assert stranger.http.get(source).status_code == 404


def test_what_was_deleted_is_said_in_the_server_s_words(owner: Person):
    done = owner.wait(owner.post("grey.jpg", factories.jpeg((320, 240))).json()["id"], ended)
    headers = {"X-CSRFToken": owner.http.cookies["csrftoken"]}
    assert owner.http.delete(f"/api/v1/analyses/{done['id']}/media/", headers=headers).is_success
    answer = owner.http.get(f"/media/{done['id']}/source")
    assert (answer.status_code, answer.json()["code"]) == (410, "media_deleted")


def test_a_large_upload_is_refused_in_the_server_s_words(owner: Person):
    answer = owner.post("large.jpg", bytes(3 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")


def test_news_come_through(owner: Person, source: str, proxied: Proxied):
    address = f"ws{proxied.url.removeprefix('http')}/ws/analyses/{source.split('/')[2]}/"

    async def listen() -> str:
        headers = {"Cookie": owner.cookies()}
        async with asyncio.timeout(60):
            async with websockets.connect(address, origin=proxied.url, additional_headers=headers) as socket:
                return str(await socket.recv())

    assert '"analysis.snapshot"' in asyncio.run(listen())


def test_over_https(tmp_path: Path, server: Server):
    make_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
    with nginx(tmp_path, server, "tls.conf") as ports:
        plain = httpx.get(f"http://127.0.0.1:{ports['8080']}/health/?a=1")
        assert (plain.status_code, plain.headers["Location"]) == (301, "https://127.0.0.1/health/?a=1")
        answer = httpx.get(f"https://127.0.0.1:{ports['8443']}/health/", verify=trust)
        assert answer.json()["status"] == "ok"
    log = (tmp_path / "access.log").read_text()
    assert " GET 200 " in log
    assert "127.0.0.1" not in log, "it does not say who asked"
    assert "health" not in log, "nor for what"


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it was told of the way that the visitor came."""

    def do_GET(self) -> None:
        said = ",".join(self.headers.get_all("X-Forwarded-Proto", [])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Listening]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Listening(server.server_port, tmp_path)
        server.shutdown()
        thread.join()


def test_one_address_alone_cannot_send_everything_at_once(tmp_path: Path):
    """A hundred files that never end, to a server that never answers; the next one is sent away."""
    start = b"POST /upload/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        ports = stack.enter_context(nginx(tmp_path, Listening(silent.getsockname()[1], tmp_path), "plain.conf"))

        def send() -> bytes:
            sender = stack.enter_context(socket.create_connection(("127.0.0.1", ports["8080"]), timeout=60))
            sender.sendall(start)
            return sender.recv(4096).partition(b"\r\n")[0]

        assert [send() for _ in range(100)] == [b"HTTP/1.1 100 Continue"] * 100
        assert send() == b"HTTP/1.1 429 Too Many Requests"


def test_behind_something_that_speaks_https_the_server_is_told(tmp_path: Path, echo: Listening):
    with nginx(tmp_path, echo, "plain.conf") as ports:
        told = {
            claimed: httpx.get(f"http://127.0.0.1:{ports['8080']}/", headers={"X-Forwarded-Proto": claimed}).text
            for claimed in ("https", "http", "gopher", "")
        }
    assert told == {"https": "https", "http": "http", "gopher": "http", "": "http"}


def test_with_https_of_its_own_nobody_s_claim_counts(tmp_path: Path, echo: Listening):
    make_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
    with nginx(tmp_path, echo, "tls.conf") as ports:
        url = f"https://127.0.0.1:{ports['8443']}/"
        assert httpx.get(url, headers={"X-Forwarded-Proto": "http"}, verify=trust).text == "https"


def make_certificate(folder: Path) -> None:
    """Signed by itself, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
