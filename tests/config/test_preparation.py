"""What a worker's threads do before their first message."""

from __future__ import annotations

import threading

import dramatiq
import pytest
from django.conf import LazySettings
from dramatiq.brokers.stub import StubBroker

from config.preparation import Preparation
from detection import tasks
from detection.workers import SETS

prepared: list[str] = []


def prepare() -> None:
    prepared.append(threading.current_thread().name)


def fail() -> None:
    raise ValueError("nothing to be had")


@pytest.fixture
def broker() -> StubBroker:
    prepared.clear()
    broker = StubBroker(middleware=[Preparation()])
    for queue in ("images", "videos", "letters"):
        broker.declare_queue(queue)
    return broker


def work(broker: StubBroker, *queues: str, threads: int = 1) -> str:
    """Start a worker for these queues, and give it a message that says which thread took it."""
    took: list[str] = []

    @dramatiq.actor(broker=broker, queue_name=queues[0])
    def sign() -> None:
        took.append(threading.current_thread().name)

    worker = dramatiq.Worker(broker, queues=set(queues), worker_threads=threads, worker_timeout=50)
    worker.start()
    sign.send()
    broker.join(queues[0])
    worker.join()
    worker.stop()
    (name,) = took
    return name


def test_each_thread_that_will_analyse_prepares_itself_once(broker: StubBroker, settings: LazySettings):
    settings.PREPARATIONS = dict.fromkeys(("images", "videos"), f"{__name__}.prepare")
    took = work(broker, "images", "videos", threads=2)
    assert len(prepared) == len(set(prepared)) == 2
    assert took in prepared


def test_one_that_has_other_work_does_not(broker: StubBroker, settings: LazySettings):
    settings.PREPARATIONS = {"images": f"{__name__}.prepare"}
    work(broker, "letters")
    assert prepared == []


def test_what_goes_wrong_does_not_keep_it_from_working(broker: StubBroker, settings: LazySettings, caplog):
    settings.PREPARATIONS = {"images": f"{__name__}.fail"}
    assert work(broker, "images")
    assert "nothing to be had" in caplog.text


def test_the_queues_are_those_of_the_analyses(settings: LazySettings):
    assert (
        set(settings.PREPARATIONS) == {tasks.IMAGES, tasks.VIDEOS} == {*SETS["images"].queues, *SETS["videos"].queues}
    )
