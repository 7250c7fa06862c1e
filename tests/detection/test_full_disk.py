"""Disks that are really full: what people who send files are told, and that nothing is left of what was refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import factories
from tests.detection.person import Person, ended
from tests.disks import KIB, small_disk
from tests.e2e.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """1 MiB for media, and 5 MiB for what is on its way."""
    folder = tmp_path_factory.mktemp("full")
    with (
        small_disk(folder / "media", 1024 * KIB),
        small_disk(folder / "tmp", 5 * 1024 * KIB) as temporary,
        Server(folder, TMPDIR=str(temporary)) as server,
    ):
        yield server


@pytest.fixture
def person(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


# As much as is held in memory; as is written to the media folder while it arrives; as does not even arrive.
@pytest.mark.parametrize("size", [2_000 * KIB, 4_000 * KIB, 8_000 * KIB])
def test_a_file_for_which_there_is_no_room_is_refused(server: Server, person: Person, size: int):
    content = factories.jpeg() + bytes(size)
    answer = person.post("large.jpg", content)
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full"), answer.text
    assert int(answer.headers["Retry-After"]) > 0
    headers = {"X-CSRFToken": person.http.cookies["csrftoken"], "Accept": "text/html"}
    page = person.http.post("/upload/", files={"file": ("large.jpg", content)}, headers=headers)
    assert page.status_code == 507
    assert "no room left for files" in page.text
    kept = [path for path in (server.folder / "media").rglob("*") if path.is_file() and path.name != ".veriframe"]
    assert kept == []
    assert list((server.folder / "tmp").iterdir()) == []


def test_afterwards_small_files_are_taken_as_before(person: Person):
    sent = person.post("grey.jpg", factories.jpeg((320, 240)))
    assert sent.status_code == 202, sent.text
    assert person.wait(sent.json()["id"], ended)["status"] == "succeeded"
