"""The same code with messages in RabbitMQ: web server, and workers as ``manage.py worker`` starts them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dramatiq import ConnectionClosed, Message

from config import rabbitmq
from tests import clips, factories, services
from tests.conftest import lacking
from tests.detection.person import Person, ended
from tests.e2e.server import ROOT, Server

MEMORY = 2048  # MiB


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if services.rabbitmq_program() is None:
        lacking("needs RabbitMQ (Debian: apt install rabbitmq-server)")
    with services.rabbitmq_server(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, broker_url: str) -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        lacking("needs redis-server (Debian: apt install redis-server)")
    with (
        services.redis_server(tmp_path_factory.mktemp("redis")) as redis,
        Server(
            tmp_path_factory.mktemp("site"),
            REDIS_URL=redis,
            RABBITMQ_URL=broker_url,
            VERIFRAME_WORKER_MEMORY_MB=str(MEMORY),
        ) as server,
    ):
        yield server


@contextmanager
def at_work(server: Server, *sets: str) -> Iterator[subprocess.Popen[bytes]]:
    """``manage.py worker SET...``, stopped in order at the end."""
    with server.log.open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "worker", *sets],
            cwd=ROOT,
            env=server.environment,
            stdout=log,
            stderr=log,
        )
    with services.stopped(process):
        yield process
    assert process.returncode == 0


def limits(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


@pytest.mark.services
def test_each_set_works_on_its_own_queue(server: Server, tmp_path: Path):
    """The video's message comes first, and the picture need not wait for anybody to take it."""
    with Person(server) as person:
        assert person.http.get("/ready/").json()["checks"]["broker"] == "ok"
        video = person.upload(clips.video(tmp_path / "short.mp4", frames=30))["id"]
        sent = person.post("grey.jpg", factories.jpeg((320, 240)))
        assert sent.status_code == 202, sent.text
        with at_work(server, "images") as process:
            assert person.wait(sent.json()["id"], ended)["status"] == "succeeded"
            if sys.platform == "linux":
                assert f"Max data size             {MEMORY * 1024 * 1024}" in limits(process.pid)
            assert person.look(video)["status"] == "queued"
        with at_work(server, "videos", "outgoing"):
            assert person.wait(video, ended)["status"] == "succeeded"


@pytest.mark.services
def test_what_is_sent_is_there_and_no_connection_stays_open(broker_url: str):
    """Threads of requests come and go."""
    broker = rabbitmq.Broker(url=broker_url, middleware=[])
    message = Message(queue_name="numbers", actor_name="count", args=(1,), kwargs={}, options={})
    threads = [threading.Thread(target=broker.enqueue, args=(message,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broker.ping()
    assert not broker.connections
    assert not broker.channels
    assert broker.get_queue_message_counts("numbers") == (5, 0, 0)
    broker.close()


def test_a_broker_that_is_away_is_an_error_that_callers_know(unused_port: int):
    broker = rabbitmq.Broker(url=f"amqp://127.0.0.1:{unused_port}", middleware=[])
    with pytest.raises(ConnectionClosed):
        broker.enqueue(Message(queue_name="numbers", actor_name="count", args=(), kwargs={}, options={}))
    with pytest.raises(ConnectionClosed):
        broker.ping()


@pytest.fixture
def unused_port() -> int:
    return services.free_port()


def test_rabbitmq_alone_is_not_enough():
    """Events, cache and limits want Redis."""
    environment = {**os.environ, "RABBITMQ_URL": "amqp://127.0.0.1", "REDIS_URL": ""}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "REDIS_URL: expected a URL like redis://..., for events and cache, beside RABBITMQ_URL" in done.stderr
