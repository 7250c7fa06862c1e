"""The client and everything that a server, or something in front of it, may answer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from detection.client import Client, Problem, Unreachable
from detection.client.__main__ import main
from detection.client.problems import ADVICE
from detection.problems import STATUS_BY_CODE
from tests.receiver import Answer, Receiver, receiving

ROOT = Path(__file__).resolve().parents[2]
ID = "5a4f7f0e-7f0c-4f0e-8a53-2f6b5c1f3d10"


def says(status: int, body: dict, **headers: str) -> Answer:
    content_type = "application/json" if status < 400 else "application/problem+json"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": content_type, **names})


def problem(status: int, code: str, **headers: str) -> Answer:
    return says(status, {"code": code, "detail": "No.", "status": status, "request_id": "abc"}, **headers)


TAKEN = says(202, {"id": ID, "status": "queued", "page_url": "http://here/"})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "face.jpg"
    path.write_bytes(b"\xff\xd8" + bytes(200_000))
    return path


def client_of(server: Receiver, **options: float) -> Client:
    return Client(f"http://{server.host}:{server.port}/", "vf_secret", **options)


def test_a_file_is_sent_whole_with_token_and_key_and_progress(picture):
    sent: list[tuple[int, int]] = []
    with receiving(TAKEN) as server, client_of(server) as client:
        submitted = client.upload(picture, external_id="case 7", on_sent=lambda done, total: sent.append((done, total)))
    (request,) = server.received
    assert (submitted.id, submitted.status, submitted.reused) == (ID, "queued", False)
    assert picture.read_bytes() in request.body
    assert b"case 7" in request.body
    assert b"callback_url" not in request.body
    assert request.headers["authorization"] == "Token vf_secret"
    assert request.headers["idempotency-key"]
    assert sent[-1] == (200_002, 200_002)


def test_a_closer_look_is_asked_for_with_the_file_and_with_a_new_run(picture):
    with receiving(TAKEN, TAKEN, TAKEN) as server, client_of(server) as client:
        client.upload(picture, mode="thorough")
        client.retry(ID, mode="thorough")
        client.retry(ID)
    sent, again, plain = server.received
    assert b'name="mode"' in sent.body
    assert (again.body, plain.body) == (b'{"mode":"thorough"}', b"")


def test_a_server_that_asks_for_patience_is_asked_again_with_the_same_file_and_key(picture):
    waits: list[float] = []
    busy = problem(429, "too_many_requests", Retry_After="0")
    with receiving(busy, busy, TAKEN) as server, client_of(server) as client:
        client.on_wait(waits.append)
        assert client.upload(picture).id == ID
    assert len(waits) == 2
    assert len({request.headers["idempotency-key"] for request in server.received}) == 1
    assert all(picture.read_bytes() in request.body for request in server.received)


def test_patience_has_an_end(picture):
    later = problem(429, "quota_exceeded", Retry_After="40000")
    with receiving(later) as server, client_of(server) as client, pytest.raises(Problem) as caught:
        client.upload(picture)
    assert (caught.value.code, caught.value.retry_after, len(server.received)) == ("quota_exceeded", 40000, 1)


def test_a_refusal_is_told_with_its_code_and_request(picture):
    refused = pytest.raises(Problem, match="unsupported_type")
    with receiving(problem(415, "unsupported_type")) as server, client_of(server) as client, refused as caught:
        client.upload(picture)
    assert (caught.value.status, caught.value.request_id, caught.value.is_fatal) == (415, "abc", False)


@pytest.mark.parametrize("answer", [Answer(502, b"<h1>Bad Gateway</h1>"), Answer(200, b"<p>Hello"), says(400, {})])
def test_what_is_no_answer_of_ours_is_said_to_be_none(answer):
    with receiving(answer) as server, client_of(server) as client, pytest.raises(Problem) as caught:
        client.get(ID)
    assert caught.value.code == "unexpected_answer"


def test_nobody_there_is_said(monkeypatch):
    monkeypatch.setattr("detection.client.http.FIRST_PAUSE", 0)
    with Receiver() as gone:
        pass
    with client_of(gone) as client, pytest.raises(Unreachable):
        client.get(ID)
    with Client("no address") as client, pytest.raises(Unreachable):
        client.get(ID)


def test_without_a_websocket_it_asks_as_often_as_the_server_likes():
    running = {"id": ID, "status": "running", "progress": {"frames_done": 3, "frames_total": 9}, "media": {}}
    done = {"id": ID, "status": "failed", "error": {"code": "unreadable_media", "message": "Broken."}}
    refused = Answer(403)  # what the WebSocket gets
    seen = []
    with (
        receiving(refused, says(200, running, Retry_After="1"), says(200, done)) as server,
        client_of(server) as client,
    ):
        analysis = client.wait(ID, seen.append)
    assert [request.path for request in server.received] == [
        f"/ws/analyses/{ID}/",
        f"/api/v1/analyses/{ID}/",
        f"/api/v1/analyses/{ID}/",
    ]
    assert (analysis.status, analysis.error.code) == ("failed", "unreadable_media")
    assert [(progress.status, progress.frames_done) for progress in seen] == [("running", 3), ("failed", 0)]


def test_every_code_of_the_server_was_thought_about():
    assert set(ADVICE) == {*STATUS_BY_CODE, "unreachable", "unexpected_answer"}


def test_it_needs_nothing_of_the_rest():
    """Copied to another folder it still works, and loads no Django."""
    program = "import sys, detection.client.__main__; print(sorted({'django', 'cv2', 'channels'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# -- The command ------------------------------------------------------------------------------------------------------


def test_a_wrong_token_ends_it_with_2_and_says_what_to_do(picture, capsys):
    with receiving(problem(401, "not_authenticated")) as server:
        assert main([str(picture), str(picture), "--server", f"http://127.0.0.1:{server.port}"]) == 2
    assert len(server.received) == 1
    error = capsys.readouterr().err
    assert "not_authenticated: No. (request abc)" in error
    assert "--token or VERIFRAME_TOKEN" in error


def test_a_refused_file_keeps_the_others_from_nothing(picture, tmp_path, capsys):
    done = {
        "id": ID,
        "status": "succeeded",
        "media": {"name": "face.jpg"},
        "result": {"verdict": "authentic", "score": 0.1, "threshold": 0.8, "total_frames": 1, "deepfake_frames": 0},
    }
    answers = [problem(415, "content_mismatch"), TAKEN, Answer(403), says(200, done)]
    with receiving(*answers) as server:
        files = [str(picture), str(tmp_path / "not there.mp4"), str(picture)]
        assert main([*files, "--json", "--server", f"http://127.0.0.1:{server.port}"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == files
    assert [line.get("error", {}).get("code") for line in lines] == ["content_mismatch", "unreadable_file", None]
    assert lines[2]["result"]["verdict"] == "authentic"


def test_a_token_comes_from_the_environment_too(picture, monkeypatch):
    monkeypatch.setenv("VERIFRAME_TOKEN", "vf_environment")
    with receiving(problem(401, "invalid_token")) as server:
        monkeypatch.setenv("VERIFRAME_URL", f"http://127.0.0.1:{server.port}")
        assert main([str(picture)]) == 2
    assert server.received[0].headers["authorization"] == "Token vf_environment"


def test_several_reports_need_a_folder(picture, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(picture), str(picture), "--output", "report.pdf"])
    assert stopped.value.code == 2
    assert "folder" in capsys.readouterr().err


def test_a_server_that_says_nothing_counts_as_unreachable(picture, monkeypatch):
    monkeypatch.setattr("detection.client.http.FIRST_PAUSE", 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)
        with client, pytest.raises(Unreachable):
            client.get(ID)
