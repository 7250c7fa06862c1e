"""Which request and which analysis a line is about, from the web server to the worker, in both formats."""

from __future__ import annotations

import io
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries

from config import log, request_id
from config.log import JsonLines, Subject
from config.redaction import Handler
from config.request_id import LogFilter
from config.scheduler import run
from config.tracing import Tracing

ANALYSIS = uuid.uuid4()
REQUEST = "request-0123456789"


@pytest.fixture(autouse=True)
def _nobodys_work() -> Iterator[None]:
    """What one test works for is none of the next one's business."""
    yield
    request_id.end()
    log.begin("")


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict]]]:
    """What is logged as JSON by `tests.log`, by a handler like the one that the settings make."""
    written = io.StringIO()
    handler = Handler(written)
    handler.setFormatter(JsonLines())
    handler.addFilter(LogFilter())
    handler.addFilter(Subject())
    logger = logging.getLogger("tests.log")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logger.removeHandler(handler)


logger = logging.getLogger("tests.log")


# -- The format -------------------------------------------------------------------------------------------------------


def test_a_line_says_what_it_is_about(lines):
    request_id.begin(REQUEST)
    with log.about(ANALYSIS):
        logger.info("inside %s", "it")
    logger.warning("outside")
    logger.info("by itself", extra={"analysis_id": str(ANALYSIS)})
    inside, outside, by_itself = lines()
    assert (inside["level"], inside["logger"], inside["message"]) == ("INFO", "tests.log", "inside it")
    assert (inside["request_id"], inside["analysis_id"]) == (REQUEST, str(ANALYSIS))
    assert inside["time"].endswith("+00:00")
    assert outside["request_id"] == REQUEST
    assert "analysis_id" not in outside
    assert by_itself["analysis_id"] == str(ANALYSIS)


def test_nothing_else_gets_in(lines):
    """Django's own lines carry the request, with the address that a person asked for."""
    logger.info("a page", extra={"request": "GET /private?name=Ann", "status_code": 500, "user": "ann@example.org"})
    (line,) = lines()
    assert set(line) == {"time", "level", "logger", "message", "process"}


def test_every_line_can_be_read_whatever_was_taken_out_of_it(lines):
    """What a database quotes is left out up to the end of its line, which is not the end of the object."""
    logger.warning('refused\nDETAIL:  Key (email)=(ann@example.org) "exists"')
    try:
        raise ValueError("duplicate\nDETAIL:  Key (email)=(ann@example.org) exists.")
    except ValueError:
        logger.exception('{"Authorization": "Bearer abc"}')
    first, second = lines()
    assert first["message"] == "refused\nDETAIL: (left out)"
    assert "ValueError: duplicate" in second["exc_info"]
    assert "ann@" not in str([first, second])


# -- From the web server to the worker --------------------------------------------------------------------------------


class Site:
    """A broker with our middleware and an actor that notes who it works for, tried twice."""

    def __init__(self) -> None:
        self.broker = StubBroker(middleware=[Tracing(), Retries()])
        self.seen: list[tuple[str, str]] = []

        @dramatiq.actor(broker=self.broker, max_retries=1, min_backoff=1, max_backoff=1)
        def work(*, fail: bool = False) -> None:
            self.seen.append((request_id.current(), log.analysis()))
            if fail and len(self.seen) == 1:
                raise OSError("once")

        self.work = work

    def finish(self) -> None:
        worker = dramatiq.Worker(self.broker, worker_timeout=10, worker_threads=1)
        worker.start()
        self.broker.join("default")
        worker.join()
        worker.stop()


def test_a_message_takes_request_and_analysis_along():
    site = Site()
    request_id.begin(REQUEST)
    with log.about(ANALYSIS):
        site.work.send()
    request_id.begin("another-request")
    site.work.send()
    site.finish()
    assert site.seen == [(REQUEST, str(ANALYSIS)), ("another-request", "")]


def test_what_is_tried_again_is_still_the_same_request():
    site = Site()
    request_id.begin(REQUEST)
    with log.about(ANALYSIS):
        site.work.send(fail=True)
    request_id.end()
    site.finish()
    assert site.seen == [(REQUEST, str(ANALYSIS))] * 2


def test_what_nobody_asked_for_has_a_name_of_its_own():
    site = Site()
    site.work.send()
    site.work.send()
    site.finish()
    (first, _), (second, _) = site.seen
    assert len({first, second}) == 2
    assert request_id.ACCEPTABLE.fullmatch(first)


def test_what_a_message_calls_itself_cannot_forge_a_line():
    site = Site()
    site.work.send_with_options(request_id="two\nlines")
    site.finish()
    assert request_id.ACCEPTABLE.fullmatch(site.seen[0][0])


SEEN: list[str] = []


def job() -> None:
    SEEN.append(request_id.current())


class Leader:
    def leads(self) -> bool:
        return True

    def resign(self) -> None:
        """Nothing to give up."""


@pytest.mark.django_db(transaction=True)
def test_each_run_of_a_job_has_a_name():
    for _ in range(2):
        # In a thread, as the scheduler does it: a run ends by closing its connections.
        thread = threading.Thread(target=run, args=(Leader(), f"{__name__}.job"))
        thread.start()
        thread.join()
    assert len(set(SEEN)) == 2
    assert all(SEEN)
