"""What is to be done regularly is done by one process at a time, and again after it failed."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import dramatiq
import pytest
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisAway

from config import scheduler
from config.scheduler import Scheduler
from detection import leases
from detection.models import Lease

pytestmark = pytest.mark.django_db(transaction=True)

CALLS: list[str] = []
TWICE = threading.Event()


def stumbling_job() -> None:
    """Raises the first time."""
    CALLS.append("job")
    if len(CALLS) == 1:
        raise RuntimeError("a bug")
    TWICE.set()


AWAY: list[Exception] = []
GOES_ON, SWEPT = threading.Event(), threading.Event()


def absent() -> None:
    raise AWAY.pop()


def long_job() -> None:
    """Ends when the test says so."""
    assert GOES_ON.wait(60)


def frequent_job() -> None:
    SWEPT.set()


class Busy:
    """As much of a worker as the scheduler sees."""

    def __init__(self) -> None:
        self.workers = [self]

    def stop(self) -> None:
        CALLS.append("thread stopped")


class Boss:
    def leads(self) -> bool:
        return True

    def resign(self) -> None:
        CALLS.append("resigned")


@pytest.fixture(autouse=True)
def _forget():
    CALLS.clear()
    for event in (TWICE, GOES_ON, SWEPT):
        event.clear()
    yield
    GOES_ON.set()


def test_a_job_that_raises_is_logged_and_runs_again(settings, caplog):
    settings.JOBS = ((f"{__name__}.stumbling_job", 1),)
    settings.JOB_LEADER = f"{__name__}.Boss"
    middleware, worker = Scheduler(), Busy()
    middleware.after_worker_boot(None, worker)
    middleware.after_worker_boot(None, worker)  # a second worker in the same process: still one scheduler
    assert TWICE.wait(60)
    for _worker in range(2):
        middleware.before_worker_shutdown(None, worker)
        middleware.after_worker_shutdown(None, worker)
    assert CALLS[:2] == ["job", "job"]
    assert CALLS.count("resigned") == 1
    assert "RuntimeError: a bug" in caplog.text


@pytest.fixture
def at_work(settings):
    """A scheduler with a clean-up that takes its time, and a worker that it belongs to."""
    settings.JOBS = ((f"{__name__}.long_job", 3600), (f"{__name__}.frequent_job", 30))
    settings.JOB_LEADER = f"{__name__}.Boss"
    middleware, worker = Scheduler(), Busy()
    middleware.after_worker_boot(None, worker)
    return middleware, worker


def test_the_sweep_need_not_wait_for_the_clean_up(at_work):
    middleware, worker = at_work
    assert SWEPT.wait(60)
    GOES_ON.set()
    middleware.before_worker_shutdown(None, worker)
    middleware.after_worker_shutdown(None, worker)
    assert CALLS[-1] == "resigned"


def test_a_worker_that_stops_begins_nothing_new_while_a_job_runs(at_work, monkeypatch, caplog):
    middleware, worker = at_work
    monkeypatch.setattr(scheduler, "PATIENCE", 0.01)
    assert SWEPT.wait(60)
    middleware.before_worker_shutdown(None, worker)
    assert CALLS == ["thread stopped"]
    middleware.after_worker_shutdown(None, worker)
    assert CALLS == ["thread stopped", "resigned"]
    assert "still at work" in caplog.text


def test_work_is_interrupted_only_once_no_more_is_begun():
    order = [type(one).__name__ for one in dramatiq.get_broker().middleware]
    assert order.index("Scheduler") < min(order.index("DatabaseFirst"), order.index("ShutdownNotifications"))


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError, RedisAway])
def test_what_is_away_is_no_bug(kind, caplog):
    AWAY.append(kind("the server closed the connection"))
    scheduler.run(Boss(), f"{__name__}.absent")
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "put off: the server closed the connection" in record.message


def test_the_second_process_does_nothing_while_the_first_leads():
    first, second = leases.JobLeader(), leases.JobLeader()
    assert [first.leads(), second.leads(), first.leads()] == [True, False, True]
    path = f"{__name__}.stumbling_job"
    scheduler.run(second, path)
    assert CALLS == []
    first.resign()
    assert second.leads()


def test_the_next_one_takes_over_when_the_leader_dies():
    dead, alive = leases.JobLeader(), leases.JobLeader()
    assert dead.leads()
    assert not alive.leads()
    Lease.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert alive.leads()
    assert not dead.leads(), "it came back, too late"


def test_two_threads_of_one_process_may_both_be_the_first_to_ask(monkeypatch):
    holder, until = uuid.uuid4(), timezone.now() + timedelta(minutes=1)
    get_or_create = Lease.objects.get_or_create

    def overtaken(**values):
        Lease.objects.create(name="duty", holder=holder, until=until)
        return get_or_create(**values)

    monkeypatch.setattr(Lease.objects, "get_or_create", overtaken)
    assert leases.take("duty", holder, 60)


def test_giving_up_what_one_has_not_takes_nothing_away():
    holder = uuid.uuid4()
    assert leases.take("duty", holder, 60)
    leases.give_up("duty", uuid.uuid4())
    assert not leases.take("duty", uuid.uuid4(), 60)


def test_the_real_jobs_can_be_found(settings):
    from django.utils.module_loading import import_string

    assert all(callable(import_string(path)) for path, _seconds in settings.JOBS)
    assert callable(import_string(settings.JOB_LEADER))
