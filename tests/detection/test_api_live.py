"""The API against a real server with a real worker: described answers only, nothing lost, tokens on sockets."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import websockets

from tests import factories
from tests.detection.person import PATIENCE, Person, ended
from tests.e2e.server import Server

UPLOADS = 40  # a day, so that no window ends in the middle of a test


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(
        tmp_path_factory.mktemp("api"),
        VERIFRAME_THREADS="1",
        VERIFRAME_LIMIT_UPLOADS=f"{UPLOADS}/d",
    ) as server:
        yield server


@pytest.fixture
def person(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


@pytest.fixture
def program(person: Person, server: Server) -> Iterator[httpx.Client]:
    """The person's program: a token and nothing else."""
    headers = {"Authorization": f"Token {person.make_token()}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=PATIENCE) as client:
        yield client


def picture(number: int = 0) -> dict:
    return {"file": (f"{number}.jpg", factories.jpeg((64 + number, 64)))}


def test_a_program_sends_waits_and_reads(program: httpx.Client):
    done = program.post("/api/v1/analyses/", files=picture(), headers={"Prefer": "wait=30"})
    assert done.status_code in (200, 202), done.text
    if done.status_code == 200:
        assert done.json()["result"]["reasons"][0]["code"] == "no_face"
        again = program.post("/api/v1/analyses/", files=picture())
        assert (again.status_code, again.json()["reused"]) == (200, True)
    assert program.get(done.json()["poll_url"]).status_code == 200
    assert program.get(f"/media/{done.json()['id']}/source").content == factories.jpeg((64, 64))


def test_a_token_opens_its_users_sockets_and_no_others(program: httpx.Client, server: Server):
    sent = program.post("/api/v1/analyses/", files=picture(1)).json()
    other = Person(server)

    async def listen(key: str) -> list[dict]:
        messages = []
        headers = {"Authorization": key}
        async with asyncio.timeout(PATIENCE), websockets.connect(sent["ws_url"], additional_headers=headers) as socket:
            async for text in socket:
                messages.append(json.loads(text))
                if ended({"status": messages[-1].get("status")}):
                    break
        return messages

    messages = asyncio.run(listen(program.headers["Authorization"]))
    assert messages[0]["type"] == "analysis.snapshot"
    assert messages[-1]["status"] == "succeeded"
    for key in (f"Token {other.make_token()}", "Token bad", "Nonsense"):
        with pytest.raises(websockets.InvalidStatus):
            asyncio.run(listen(key))
    other.http.close()


def test_fifty_uploads_at_once_are_all_answered_and_none_is_lost(program: httpx.Client, server: Server):
    def send(number: int) -> httpx.Response:
        return program.post("/api/v1/analyses/", files=picture(number), data={"external_id": f"n{number}"})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert Counter(answer.status_code for answer in answers) == {202: UPLOADS, 429: 50 - UPLOADS}
    taken = {answer.json()["id"]: number for number, answer in enumerate(answers) if answer.status_code == 202}
    assert len(taken) == UPLOADS
    for answer in answers:
        if answer.status_code == 429:
            assert (answer.json()["code"], int(answer.headers["Retry-After"]) > 0) == ("too_many_requests", True)
    rows = server.rows(
        "SELECT analysis.id, external_id, size, file FROM detection_analysis AS analysis"
        " JOIN detection_upload AS upload ON upload.id = upload_id WHERE external_id LIKE 'n%'"
    )
    assert {(id_, number) for id_, number, _size, _file in rows} == {
        (id_.replace("-", ""), f"n{number}") for id_, number in taken.items()
    }
    for _id, number, size, file in rows:
        content = (server.folder / "media" / file).read_bytes()
        assert content == factories.jpeg((64 + int(number[1:]), 64))
        assert len(content) == size
    assert program.get("/api/v1/usage/").json()["today"]["analyses"] == UPLOADS
    for id_ in taken:
        if not ended(program.get(f"/api/v1/analyses/{id_}/").json()):
            program.post(f"/api/v1/analyses/{id_}/cancel/")
    assert "Traceback" not in server.log.read_text()


# What a schema cannot say: random bytes are no picture however well they are sent, and what is not understood in a
# query is not always refused. The rest of schemathesis' checks hold.
NOT_CHECKED = "positive_data_acceptance,negative_data_rejection"


# Real analyses to ask for; the one that is deleted is another than the one that is read.
CONFIGURATION = """
[parameters]
analysis_id = "{read}"

[[operations]]
include-operation-id = "analyses_delete"
parameters = {{ analysis_id = "{deleted}" }}
"""


@pytest.mark.timeout(600)
def test_every_answer_is_one_that_the_schema_declares(program: httpx.Client, server: Server, tmp_path: Path):
    sent = [program.post("/api/v1/analyses/", files=picture(number)).json()["id"] for number in (2, 3)]
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION.format(read=sent[0], deleted=sent[1]))
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/api/schema/"]
    command += ["-H", f"Authorization: {program.headers['Authorization']}", "--exclude-checks", NOT_CHECKED]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "4", "--seed", "1", "--no-shrink"]
    command += ["--continue-on-failure", "--request-timeout", "60", "--suppress-health-check", "all"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    selected, tested = re.search(r"Selected: (\d+)/\d+\s+Tested: (\d+)", done.stdout).groups()
    assert selected == tested
    assert int(tested) >= 28
    assert "Traceback" not in server.log.read_text()
