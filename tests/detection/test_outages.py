"""PostgreSQL and Redis are stopped and started under a site at work: what is seen, and that nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks import faults
from benchmarks.site import Site
from tests import clips, factories, services
from tests.conftest import lacking
from tests.detection.person import Person, at_work, ended

pytestmark = pytest.mark.services
PAGE = {"Accept": "text/html"}


def need_services() -> None:
    if shutil.which("redis-server") is None or services.postgresql_programs() is None:
        lacking("needs redis-server and PostgreSQL (Debian: apt install redis-server postgresql)")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """It takes its time over a video; a short lease, so that the sweep comes round soon."""
    need_services()
    with Site(VERIFRAME_FRAMES="150", VERIFRAME_LEASE="8") as site:
        yield site


@pytest.fixture
def person(site: Site) -> Iterator[Person]:
    with Person(site.server) as person:
        yield person


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.video(tmp_path_factory.mktemp("clips") / "long.mp4", frames=160, size=(1280, 720))


def test_without_the_database_people_are_told_and_the_worker_goes_on_afterwards(
    site: Site, person: Person, long_video: Path
):
    running = person.upload(long_video)["id"]
    person.wait(running, at_work)
    waiting = person.post("grey.jpg", factories.jpeg((320, 240))).json()["id"]
    site.postgresql.stop()
    try:
        page = person.http.get("/analyses/", headers=PAGE)
        assert (page.status_code, page.headers["Retry-After"]) == (503, "30")
        assert "Not available at the moment" in page.text
        for answer in (person.http.get("/api/v1/analyses/"), person.http.get("/analyses/")):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        assert httpx.get(f"{site.server.url}/ready/").json()["checks"]["database"] == "failed"
        assert httpx.get(f"{site.server.url}/health/").json()["status"] == "ok"
        person.wait_for(lambda: f"analysis {running}: the database is away" in site.server.log.read_text())
    finally:
        site.postgresql.start()
    for one in (running, waiting):
        assert person.wait(one, ended)["status"] == "succeeded"
    assert site.rows("SELECT count(*) FROM detection_deadletter") == [(0,)]


def test_without_the_queue_files_are_taken_and_sent_by_themselves_later(site: Site, person: Person):
    site.redis.stop()
    try:
        answer = person.post("grey.jpg", factories.jpeg((320, 240)))
        assert (answer.status_code, answer.json()["waits_for"]) == (202, "queue")
        sent = answer.json()["id"]
        assert person.look(sent)["waits_for"] == "queue"
        page = person.http.get(f"/analyses/{sent}/", headers=PAGE)
        assert "Your file is stored, and its analysis begins by itself" in page.text
    finally:
        site.redis.start()
    done = person.wait(sent, ended)
    assert (done["status"], done["waits_for"]) == ("succeeded", None)


def test_messages_that_the_queue_forgot_are_sent_again_at_once(site: Site, person: Person):
    """Not after ten minutes: its memory is seen to be empty."""
    for worker in site.workers:
        worker.stop()
    answer = person.post("grey.jpg", factories.jpeg((320, 240)))
    assert answer.json()["waits_for"] == "worker"
    site.redis.stop()
    site.redis.start()
    for worker in site.workers:
        worker.start()
    assert person.wait(answer.json()["id"], ended)["status"] == "succeeded"


def test_through_all_faults_each_file_gets_its_one_result():
    """A small run of benchmarks/faults.py."""
    need_services()
    figures = faults.run(uploads=8, photos=2, clips=1, pause=(4, 8), away=(1, 2))
    assert (figures["redis"], figures["postgresql"], figures["letters"]) == (2, 1, 0)
