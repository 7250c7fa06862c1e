"""What is to be done regularly is done by one process at a time, and again after it failed."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

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


def absent_database() -> None:
    raise OperationalError("the server closed the connection")


class Boss:
    def leads(self) -> bool:
        return True

    def resign(self) -> None:
        CALLS.append("resigned")


@pytest.fixture(autouse=True)
def _forget():
    CALLS.clear()
    TWICE.clear()


def test_a_job_that_raises_is_logged_and_runs_again(settings, caplog):
    settings.JOBS = ((f"{__name__}.stumbling_job", 1),)
    settings.JOB_LEADER = f"{__name__}.Boss"
    middleware = Scheduler()
    middleware.after_worker_boot(None, None)
    middleware.after_worker_boot(None, None)  # a second worker in the same process: still one scheduler
    assert TWICE.wait(60)
    middleware.before_worker_shutdown(None, None)
    middleware.before_worker_shutdown(None, None)
    assert CALLS[:2] == ["job", "job"]
    assert CALLS[-1] == "resigned"
    assert "RuntimeError: a bug" in caplog.text


def test_a_database_that_is_away_is_no_bug(caplog):
    scheduler.run(Boss(), f"{__name__}.absent_database")
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


def test_giving_up_what_one_has_not_takes_nothing_away():
    holder = uuid.uuid4()
    assert leases.take("duty", holder, 60)
    leases.give_up("duty", uuid.uuid4())
    assert not leases.take("duty", uuid.uuid4(), 60)


def test_the_real_jobs_can_be_found(settings):
    from django.utils.module_loading import import_string

    assert all(callable(import_string(path)) for path, _seconds in settings.JOBS)
    assert callable(import_string(settings.JOB_LEADER))
