"""The same code on Redis and PostgreSQL: web server and workers in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from tests import clips, factories, services
from tests.conftest import lacking
from tests.detection.person import PATIENCE, Person, at_work, ended
from tests.e2e.server import ROOT, Server
from tests.receiver import Receiver

pytestmark = pytest.mark.services


class Worker:
    """`manage.py rundramatiq` with one process and one thread."""

    def __init__(self, environment: dict[str, str], log: Path, *options: str) -> None:
        command = [sys.executable, "manage.py", "rundramatiq", "--processes", "1", "--threads", "1", *options]
        with log.open("a") as file:
            # A session of its own: Dramatiq forks, and kill() below must reach the children, too.
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
            )

    def kill(self) -> None:
        """As a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if services.postgresql_programs() is None:
        lacking("needs PostgreSQL (Debian: apt install postgresql)")
    with services.postgresql_server(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        lacking("needs redis-server (Debian: apt install redis-server)")
    with services.redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, postgresql: str, redis: str) -> Iterator[Server]:
    """The web server; a short lease, so that a dead worker is noticed soon."""
    with Server(
        tmp_path_factory.mktemp("site"),
        DATABASE_URL=postgresql,
        REDIS_URL=redis,
        VERIFRAME_FRAMES="150",
        VERIFRAME_THREADS="1",
        VERIFRAME_LEASE="8",
        VERIFRAME_WEBHOOK_NETWORKS="127.0.0.1",
    ) as server:
        yield server


@pytest.fixture
def person(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.video(tmp_path_factory.mktemp("clips") / "long.mp4", frames=160, size=(1280, 720))


def test_an_event_of_a_worker_reaches_the_browser(person: Person, server: Server, long_video: Path, tmp_path: Path):
    """The socket is open before there is a worker at all; the message waits in Redis."""
    answer = person.upload(long_video)

    async def listen() -> list[dict]:
        messages: list[dict] = []
        headers = {"Cookie": person.cookies()}
        async with websockets.connect(answer["ws_url"], origin=server.url, additional_headers=headers) as socket:
            messages.append(json.loads(await socket.recv()))
            worker = Worker(server.environment, server.log)
            try:
                async with asyncio.timeout(PATIENCE):
                    while not ended({"status": messages[-1].get("status")}):
                        messages.append(json.loads(await socket.recv()))
            finally:
                await asyncio.to_thread(worker.stop)
        return messages

    messages = asyncio.run(listen())
    assert (messages[0]["type"], messages[0]["status"]) == ("analysis.snapshot", "queued")
    assert messages[-1]["status"] == "succeeded", messages[-1]
    percents = [message["percent"] for message in messages if "percent" in message]
    assert percents == sorted(percents)
    assert len(set(percents)) > 5
    assert person.look(answer["id"])["result"]["verdict"] == "inconclusive"


def test_a_worker_of_its_own_sends_webhooks(person: Person, server: Server):
    """It hears of nothing else, and does not analyse."""
    waiting = person.post("grey.jpg", factories.jpeg((320, 240)))
    with Receiver() as receiver:
        added = person.send("/api/v1/webhooks/", json={"url": receiver.url})
        assert added.status_code == 201, added.text
        worker = Worker(server.environment, server.log, "--queues", "webhooks")
        try:
            person.send(f"/api/v1/analyses/{waiting.json()['id']}/cancel/")
            (request,) = receiver.wait_for(1, PATIENCE)
        finally:
            worker.stop()
    assert json.loads(request.body)["type"] == "analysis.cancelled"


def test_a_worker_that_dies_is_replaced(person: Person, server: Server, long_video: Path):
    """Killed in the middle; another one takes the work over once the lease has run out."""
    first = Worker(server.environment, server.log)
    running = person.upload(long_video)["id"]
    person.wait(running, at_work)
    first.kill()
    second = Worker(server.environment, server.log)
    try:
        assert person.wait(running, ended)["status"] == "succeeded"
    finally:
        second.stop()


def test_a_worker_that_is_stopped_hands_its_work_to_another(person: Person, server: Server, long_video: Path):
    first = Worker(server.environment, server.log)
    running = person.upload(long_video)["id"]
    person.wait(running, at_work)
    first.stop()
    assert person.look(running)["status"] == "queued"
    second = Worker(server.environment, server.log)
    try:
        assert person.wait(running, ended)["status"] == "succeeded"
    finally:
        second.stop()


def test_of_two_workers_one_cleans_up_and_the_other_takes_over(person: Person, server: Server):
    """The one that leads is killed; its lease runs out, and files go on being deleted."""
    workers = [Worker(server.environment, server.log)]
    try:
        for _ in range(2):
            sent = person.post("grey.jpg", factories.jpeg((320, 240)), retain_seconds="0", force="true")
            assert sent.status_code == 202, sent.text
            gone = person.wait(sent.json()["id"], lambda found: found["media"]["deleted_at"] is not None)
            assert (gone["status"], gone["media"]["deleted_reason"]) == ("succeeded", "expired")
            assert person.http.get(f"/media/{gone['id']}/source").json()["code"] == "media_deleted"
            workers.append(Worker(server.environment, server.log))
            if len(workers) == 2:
                workers[0].kill()
    finally:
        for worker in workers[1:]:
            worker.stop()


RACE = """
import django
django.setup()
import threading
from django.db import connection, connections
from accounts.models import User
from detection.models import Analysis, Upload
from detection.runner import Claim

assert connection.vendor == "postgresql"
user = User.objects.create_user("race@example.org")
upload = Upload.objects.create(user=user, name="x.jpg", kind="image", mime="image/jpeg", size=1, sha256="0", file="x")
rows = [Analysis.objects.create(upload=upload) for _ in range(40)]
start = threading.Barrier(8)
won = []

def race():
    for row in rows:
        start.wait()
        if Claim.take(row.pk) is not None:
            won.append(row.pk)
    connections.close_all()

threads = [threading.Thread(target=race) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert sorted(won) == sorted(row.pk for row in rows), len(won)
assert {row.attempts for row in Analysis.objects.filter(upload=upload)} == {1}
user.delete()
print("one winner each")
"""


def run_script(server: Server, script: str) -> subprocess.CompletedProcess[str]:
    """A script on the server's database, without Redis: what it submits stays in its own process."""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**server.environment, "REDIS_URL": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_of_eight_workers_exactly_one_gets_each_analysis(server: Server):
    done = run_script(server, RACE)
    assert done.stdout.strip() == "one winner each", done.stderr


HISTORY = """
import django
django.setup()
from django.db import connection
from django.test import Client
from django.test.utils import setup_test_environment
from accounts.models import User
from detection import selectors
from tests.detection.test_history import QUESTIONS, bulk, saved, shown, some_history

assert connection.vendor == "postgresql"
setup_test_environment()
owner, stranger = (User.objects.create_user(f"{name}@history.example") for name in ("owner", "stranger"))
past = some_history(owner)
client, other = Client(), Client()
client.force_login(owner)
other.force_login(stranger)
for query, names in QUESTIONS:
    assert shown(client, **query) == names, query
    assert [row["name"] for row in saved(client, **query)] == names, query
assert shown(client, search="a\\0b", until="9999-12-31") == shown(client)
assert selectors.counts_of(owner).by_verdict == {"manipulated": 1, "authentic": 1, "inconclusive": 1}
assert len(selectors.recent(owner)) == 5
assert shown(other) == []
for action in ("delete", "retry"):
    bulk(other, action, *past.values(), confirmed="yes")
bulk(client, "retry", past["speech"], past["broken"], past["waiting"])
assert shown(client, status="queued") == ["another.jpg", "broken.mp4", "Speech.mp4"]
bulk(client, "delete", past["speech"], past["waiting"], confirmed="yes")
assert shown(client) == ["broken.mp4", "night speech.mp4", "portrait.jpg"]
bulk(client, "delete", *past.values(), confirmed="yes")
assert shown(client) == []
owner.delete(), stranger.delete()
print("the same answers")
"""


def test_the_history_answers_on_postgresql_as_on_sqlite(server: Server):
    done = run_script(server, HISTORY)
    assert done.stdout.strip() == "the same answers", done.stderr
