"""A message's limit, and the one that its work sets."""

from __future__ import annotations

import threading
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from config.time_limit import TimeLimit, set_limit

Given = list[tuple[str, float | None]]


class Manager:
    """Writes down which limits it is given, where Dramatiq's would raise in the thread."""

    def __init__(self) -> None:
        self.given: Given = []

    def start(self) -> None: ...

    def add_timeout(self, thread: int, milliseconds: float) -> None:
        assert thread == threading.get_ident()
        self.given.append(("add", milliseconds))

    def remove_timeout(self, thread: int) -> None:
        assert thread == threading.get_ident()
        self.given.append(("remove", None))


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Manager:
    """Of a broker of the test's own."""
    limit = TimeLimit()
    limit.manager = Manager()
    broker = StubBroker(middleware=[limit])
    monkeypatch.setattr(dramatiq, "get_broker", lambda: broker)
    return limit.manager


def work(action: Any) -> None:
    """Have a worker do this in a message that may take a minute."""
    broker = dramatiq.get_broker()
    dramatiq.actor(broker=broker, actor_name="act", time_limit=60_000)(action).send()
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    broker.join("default")
    worker.join()
    worker.stop()


def test_the_work_sets_its_own(manager: Manager):
    work(lambda: set_limit(7200))
    assert manager.given == [("add", 60_000), ("add", 7_200_000), ("remove", None)]


def test_without_it_the_message_s_holds(manager: Manager):
    work(lambda: None)
    assert manager.given == [("add", 60_000), ("remove", None)]


def test_who_works_on_no_message_has_none(manager: Manager):
    """Nobody would take it back: neither before a message nor after one, in the thread that worked on it."""
    broker = dramatiq.get_broker()
    [limit] = [one for one in broker.middleware if isinstance(one, TimeLimit)]
    message = dramatiq.actor(broker=broker, actor_name="nothing", time_limit=60_000)(lambda: None).message()
    set_limit(1)
    limit.before_process_message(broker, message)
    set_limit(2)
    limit.after_process_message(broker, message)
    set_limit(3)
    assert manager.given == [("add", 60_000), ("add", 2_000), ("remove", None)]


def test_it_is_the_site_s():
    assert [type(one) for one in dramatiq.get_broker().middleware].count(TimeLimit) == 1
