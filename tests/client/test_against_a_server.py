"""The client and the command against a real server with a real worker and the real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from detection.client import Client, Problem
from detection.client.__main__ import main
from tests import clips, factories
from tests.detection.person import Person, at_work, ended
from tests.e2e.server import ROOT, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Many frames and one thread: an analysis lasts long enough to step into it."""
    folder = tmp_path_factory.mktemp("server")
    with Server(
        folder,
        VERIFRAME_FRAMES="150",
        VERIFRAME_THREADS="1",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def person(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


@pytest.fixture(scope="module")
def token(person: Person) -> str:
    return person.make_token()


@pytest.fixture
def client(server: Server, token: str) -> Iterator[Client]:
    with Client(server.url, token) as client:
        yield client


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    path = tmp_path / "grey.jpg"
    path.write_bytes(factories.jpeg((320, 240)))
    return path


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.video(tmp_path_factory.mktemp("clips") / "long.mp4", frames=160, size=(1280, 720))


def test_send_watch_read_and_delete(client: Client, long_video: Path):
    seen = []
    analysis = client.wait(client.upload(long_video, force=True).id, seen.append)
    assert (analysis.status, analysis.result.verdict, analysis.media.kind) == ("succeeded", "inconclusive", "video")
    assert [reason.code for reason in analysis.result.reasons] == ["no_face"]
    counts = [progress.frames_done for progress in seen]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2  # the WebSocket told of more than asking now and then would
    assert client.report(analysis.id, "pdf").startswith(b"%PDF")
    assert json.loads(client.report(analysis.id, "json"))["analysis"]["id"] == analysis.id
    with pytest.raises(Problem, match="conflict"):
        client.cancel(analysis.id)
    client.delete(analysis.id)
    with pytest.raises(Problem, match="not_found"):
        client.get(analysis.id)


def test_the_command_prints_and_saves(server: Server, token: str, portrait: Path, tmp_path: Path, capsys):
    where = ["--server", server.url, "--token", token]
    assert main([str(portrait), *where, "--output", str(tmp_path / "report.pdf")]) == 0
    assert "inconclusive  no score" in (text := capsys.readouterr().out)
    assert "because     no_face" in text
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert main([str(portrait), str(portrait), *where, "--json", "--output", str(tmp_path / "reports")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["result"]["verdict"] for line in lines] == ["inconclusive"] * 2
    assert {path.suffix for path in (tmp_path / "reports").iterdir()} == {".json", ".pdf"}


def test_a_file_that_cannot_be_read_ends_with_1(server: Server, token: str, tmp_path: Path, capsys):
    broken = clips.cut(clips.video(tmp_path / "whole.mp4", frames=60), tmp_path / "cut.mp4", 0.5)
    assert main([str(broken), "--server", server.url, "--token", token]) == 1
    assert "not analysed  unreadable_media" in capsys.readouterr().out


def test_a_bad_token_is_no_use(server: Server, portrait: Path, capsys):
    assert main([str(portrait), "--server", server.url, "--token", "vf_" + "0" * 60]) == 2
    assert "invalid_token" in capsys.readouterr().err


def test_ctrl_c_cancels_what_was_sent(server: Server, person: Person, token: str, long_video: Path):
    command = [sys.executable, "-m", "detection.client", str(long_video), "--force", "--server", server.url]
    before = {row["id"] for row in person.history()}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "VERIFRAME_TOKEN": token},
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    newest = person.wait_for(lambda: next(iter({r["id"] for r in person.history()} - before), None))
    person.wait(newest, at_work)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Cancelling 1 on the server." in error
    assert "Traceback" not in error
    assert person.wait(newest, ended)["status"] == "cancelled"
