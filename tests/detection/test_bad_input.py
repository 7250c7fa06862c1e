"""Everything odd that people send, to a real server: each gets its answer, and nothing is the worse for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests import clips, portraits
from tests.detection.person import Person, ended
from tests.e2e.server import Server

TWELVE_HOURS = 12 * 3600.0
FAST_START = {"movflags": "faststart"}  # the index first, as in a file made for streaming
SIDE = 320


def portrait() -> bytes:
    buffer = BytesIO()
    Image.fromarray(portraits.portrait(SIDE)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def portrait_video(path: Path, frames: int) -> Path:
    return clips.video(path, frames=frames, size=(SIDE, SIDE), paint=lambda index: portraits.portrait(SIDE))


# -- What is sent ----------------------------------------------------------------------------------------------------


def empty(folder: Path) -> bytes:
    return b""


def text(folder: Path) -> bytes:
    return b"this is only text, whatever its name says\n" * 50


def without_index(folder: Path) -> bytes:
    """An MP4's `moov` comes last, so the half that was copied lacks it."""
    whole = clips.video(folder / "whole.mp4", frames=60)
    content = clips.cut(whole, folder / "half.mp4", 0.5).read_bytes()
    assert b"moov" not in content
    return content


def without_data(folder: Path) -> bytes:
    """The index is all there, of the pictures hardly a byte."""
    content = clips.video(folder / "whole.mp4", frames=60, container_options=FAST_START).read_bytes()
    return content[: content.index(b"mdat") + 24]


def with_half_its_data(folder: Path) -> bytes:
    """The index lists 60 pictures, half of which are there."""
    content = clips.video(folder / "whole.mp4", frames=60, container_options=FAST_START).read_bytes()
    begin = content.index(b"mdat")
    return content[: begin + (len(content) - begin) // 2]


def one_frame(folder: Path) -> bytes:
    return portrait_video(folder / "one.mp4", 1).read_bytes()


def no_pixels_png(folder: Path) -> bytes:
    return clips.png_header(folder / "none.png", 0, 0).read_bytes()


def no_pixels_jpeg(folder: Path) -> bytes:
    return clips.jpeg_header(folder / "none.jpg", 0, 0).read_bytes()


def huge_png(folder: Path) -> bytes:
    return clips.png_header(folder / "huge.png", 30_000, 30_000).read_bytes()


def huge_jpeg(folder: Path) -> bytes:
    return clips.jpeg_header(folder / "huge.jpg", 30_000, 30_000).read_bytes()


def faceless_video(folder: Path) -> bytes:
    return clips.video(folder / "bars.mp4", frames=45).read_bytes()


def sound(folder: Path) -> bytes:
    return clips.audio_only(folder / "tone.mp4").read_bytes()


def long_mp4(folder: Path) -> bytes:
    two_seconds = clips.video(folder / "short.mp4", frames=60)
    return clips.claim_mp4_duration(two_seconds, folder / "long.mp4", TWELVE_HOURS).read_bytes()


def long_matroska(folder: Path) -> bytes:
    two_seconds = clips.video(folder / "short.mkv", frames=60)
    return clips.claim_duration(two_seconds, folder / "long.mkv", TWELVE_HOURS).read_bytes()


# -- What comes back -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    status: int
    code: str

    def check(self, person: Person, name: str, content: bytes) -> None:
        answer = person.post(name, content)
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert (answer.status_code, problem["status"], problem["code"]) == (self.status, self.status, self.code)
        assert problem["detail"]


@dataclass(frozen=True)
class Failure:
    code: str

    def check(self, person: Person, name: str, content: bytes) -> None:
        analysis = analysed(person, name, content)
        assert analysis["status"] == "failed"
        assert analysis["error"]["code"] == self.code
        assert analysis["error"]["message"]
        assert analysis["result"] is None


@dataclass(frozen=True)
class Inconclusive:
    reason: str

    def check(self, person: Person, name: str, content: bytes) -> None:
        analysis = analysed(person, name, content)
        assert (analysis["status"], analysis["error"]) == ("succeeded", None)
        result = analysis["result"]
        assert (result["verdict"], result["score"]) == ("inconclusive", None)
        assert [reason["code"] for reason in result["reasons"]] == [self.reason]
        assert all(reason["message"] for reason in result["reasons"])


@dataclass(frozen=True)
class Named:
    """The file is good, its name is not: it is shown like this."""

    shown: str

    def check(self, person: Person, name: str, content: bytes) -> None:
        analysis = analysed(person, name, content)
        assert (analysis["status"], analysis["error"]) == ("succeeded", None)
        assert analysis["media"]["name"] == self.shown
        page = person.http.get(f"/analyses/{analysis['id']}/", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert self.shown in page.text
        source = person.http.get(analysis["media"]["url"])
        assert (source.status_code, source.content) == (200, content)


def analysed(person: Person, name: str, content: bytes) -> dict:
    answer = person.post(name, content, force="true")  # the same portrait comes under many names
    assert answer.status_code == 202, answer.text
    return person.wait(answer.json()["id"], ended)


def good(folder: Path) -> bytes:
    return portrait()


Make = Callable[[Path], bytes]
Answer = Refusal | Failure | Inconclusive | Named

TABLE: dict[str, tuple[str, Make, Answer]] = {
    "empty file": ("clip.mp4", empty, Refusal(400, "empty_file")),
    "text called mp4": ("notes.mp4", text, Refusal(415, "content_mismatch")),
    "mp4 cut before its index": ("clip.mp4", without_index, Failure("unreadable_media")),
    "mp4 cut at its first picture": ("clip.mp4", without_data, Failure("unreadable_media")),
    "mp4 cut in the middle, no face in the rest": ("clip.mp4", with_half_its_data, Inconclusive("no_face")),
    "one frame": ("clip.mp4", one_frame, Inconclusive("too_short")),
    "0 x 0, png": ("face.png", no_pixels_png, Refusal(415, "content_mismatch")),
    "0 x 0, jpeg": ("face.jpg", no_pixels_jpeg, Refusal(415, "content_mismatch")),
    "30,000 x 30,000, png": ("face.png", huge_png, Refusal(413, "too_many_pixels")),
    "30,000 x 30,000, jpeg": ("face.jpg", huge_jpeg, Refusal(413, "too_many_pixels")),
    "no face": ("clip.mp4", faceless_video, Inconclusive("no_face")),
    "only sound": ("clip.mp4", sound, Failure("unreadable_media")),
    # An MP4 is believed for its index, which says two seconds.
    "12 hours claimed, mp4": ("clip.mp4", long_mp4, Inconclusive("no_face")),
    "12 hours claimed, mkv": ("clip.mkv", long_matroska, Failure("media_too_long")),
    "name with slashes": ("../../etc/passwd.jpg", good, Named("passwd.jpg")),
    "name with backslashes": ("..\\..\\windows\\me.jpg", good, Named("me.jpg")),
    "name with quotes": ("\"Anna's\" 'face'.jpg", good, Named("’Anna’s’ ’face’.jpg")),
    "name with emoji": ("👨\u200d👩\u200d👧 🙂.jpg", good, Named("👨👩👧 🙂.jpg")),
    "name of 300 characters": ("x" * 296 + ".jpg", good, Named("x" * 196 + ".jpg")),
    "name that is only an extension": (".jpg", good, Named("unnamed.jpg")),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bad_input")
    (folder / "tmp").mkdir()
    with Server(folder, VERIFRAME_THREADS="1", TMPDIR=str(folder / "tmp")) as server:
        yield server


@pytest.fixture(scope="module")
def person(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


def uploads(server: Server) -> list[tuple[str, str]]:
    """Id and path of each upload that the database knows."""
    return [(str(uuid.UUID(id_)), file) for id_, file in server.rows("SELECT id, file FROM detection_upload")]


def nothing_is_half_stored(server: Server) -> None:
    """Of each upload its file, of each success its pictures, and not a thing more."""
    media = server.folder / "media"
    # Beside them the mark of the clean-up and the folder where files arrive.
    assert {path.name for path in media.iterdir()} - {".veriframe", ".incoming"} == {id_ for id_, _ in uploads(server)}
    expected = {file for _, file in uploads(server)}
    succeeded = "SELECT upload_id, id FROM detection_analysis WHERE status = 'succeeded'"
    expected |= {f"{uuid.UUID(upload)}/{uuid.UUID(analysis)}" for upload, analysis in server.rows(succeeded)}
    assert {str(path.relative_to(media)) for path in media.glob("*/*")} == expected
    assert list((server.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("case", TABLE)
def test_bad_input_gets_its_answer_and_leaves_nothing_behind(case: str, server: Server, person: Person, tmp_path: Path):
    name, make, answer = TABLE[case]
    before = uploads(server)
    answer.check(person, name, make(tmp_path))
    stored = 0 if isinstance(answer, Refusal) else 1
    assert len(uploads(server)) == len(before) + stored
    nothing_is_half_stored(server)

    # The worker lives on, and deleting what was stored leaves nothing either.
    after = analysed(person, "portrait.jpg", portrait())
    assert after["status"] == "succeeded", after["error"]
    assert len(after["result"]["tracks"]) == 1
    headers = {"X-CSRFToken": person.http.cookies["csrftoken"]}
    for analysis in person.http.get("/api/v1/analyses/").json()["results"]:
        assert person.http.delete(f"/api/v1/analyses/{analysis['id']}/", headers=headers).status_code == 204
    assert uploads(server) == []
    nothing_is_half_stored(server)


def test_none_of_it_was_a_surprise_to_the_server(server: Server):
    """Runs last: bad input is no error of ours, so the log has no traceback."""
    assert "Traceback" not in server.log.read_text()
