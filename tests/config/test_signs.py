"""Which workers live, as the others see it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import dramatiq
import pytest
import time_machine
from django.core.cache import cache
from dramatiq.brokers.stub import StubBroker
from redis.exceptions import ConnectionError as RedisAway

from config import log, signs
from config.signs import SignsOfLife
from config.tracing import Tracing
from tests.services import wait_for


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Iterator[SignsOfLife]:
    """Of somebody in a hurry, who is silent after the test in any case."""
    monkeypatch.setattr(signs, "BEAT", 0.01)
    life = SignsOfLife()
    yield life
    life._stopping.set()
    if life._thread is not None:
        life._thread.join()


def alive() -> list[signs.Sign]:
    found = signs.workers()
    assert found is not None
    return found


def test_a_worker_is_there_with_what_it_does_until_it_stops(life: SignsOfLife):
    begun, go_on = threading.Event(), threading.Event()
    broker = StubBroker(middleware=[Tracing(), life])

    @dramatiq.actor(broker=broker, queue_name="videos")
    def analyse() -> None:
        begun.set()
        assert go_on.wait(60)

    with log.about("an-analysis"):
        analyse.send()
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)
    worker.start()
    assert begun.wait(60)
    wait_for(lambda: any(sign.tasks for sign in alive()), "a sign of what it does")
    (sign,) = alive()
    assert (sign.pid, sign.queues, sign.is_silent) == (os.getpid(), ("videos",), False)
    assert [(task.actor, task.analysis_id) for task in sign.tasks] == [("analyse", "an-analysis")]
    assert sign.since <= sign.tasks[0].since <= sign.seen
    go_on.set()
    worker.join()
    wait_for(lambda: alive()[0].tasks == (), "a sign that it is done")
    worker.stop()
    assert alive() == []


def test_several_workers_of_one_process_are_one_sign(life: SignsOfLife):
    """As in `manage.py serve`: it is there as long as one of them is."""
    broker = StubBroker(middleware=[life])
    broker.declare_queue("images")
    broker.declare_queue("videos")
    first, second = (dramatiq.Worker(broker, queues={name}, worker_threads=1) for name in ("images", "videos"))
    # What a worker does besides is none of this test's business.
    for worker in (first, second):
        life.before_worker_boot(broker, worker)
        life.after_worker_boot(broker, worker)
    wait_for(lambda: [sign.queues for sign in alive()] == [("images", "videos")], "both queues")
    life.after_worker_shutdown(broker, first)
    wait_for(lambda: [sign.queues for sign in alive()] == [("videos",)], "one queue")
    life.after_worker_shutdown(broker, second)
    assert alive() == []


def test_processes_do_not_take_each_others_place():
    many = [SignsOfLife() for _ in range(20)]
    threads = [threading.Thread(target=life.beat) for life in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {sign.id for sign in alive()} == {life._id for life in many}


def test_who_was_asleep_for_too_long_takes_another_place():
    asleep, other = SignsOfLife(), SignsOfLife()
    asleep.beat()
    cache.clear()
    other.beat()
    asleep.beat()
    assert len(alive()) == 2


def test_a_worker_that_was_killed_falls_silent_and_is_forgotten():
    with time_machine.travel(time.time(), tick=False) as clock:
        SignsOfLife().beat()
        assert not alive()[0].is_silent
        clock.shift(signs.SILENT_AFTER + 1)
        assert alive()[0].is_silent
        clock.shift(signs.KEPT)
        assert alive() == []


def test_without_the_cache_nobody_knows(monkeypatch):
    def away(*args, **kwargs):
        raise RedisAway("gone")

    for name in ("get_many", "add", "set"):
        monkeypatch.setattr(cache, name, away, raising=False)
    assert signs.workers() is None
    assert signs.jobs_done(["a.job"]) == {}
    signs.note_job("a.job")  # the job was done all the same
    with pytest.raises(RedisAway):
        SignsOfLife().beat()


def test_jobs_are_remembered():
    signs.note_job("a.job")
    assert set(signs.jobs_done(["a.job", "another.job"])) == {"a.job"}
