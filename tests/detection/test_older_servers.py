"""The five older servers' documented requests, sent to this one as their users sent them: to a real server with a real
worker. What each of them had is in the README under "The older servers"."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from tests import clips, factories, portraits
from tests.detection.person import PATIENCE, Person, ended
from tests.e2e.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Open to everybody, as they all were; it waits long, because this machine may be busy."""
    with Server(
        tmp_path_factory.mktemp("older"),
        VERIFRAME_OPEN_PREDICT="yes",
        VERIFRAME_PREDICT_SECONDS="120",
        VERIFRAME_LIMIT_UPLOADS="5/d",
        VERIFRAME_MAX_UPLOAD_MB="1",
        VERIFRAME_FRAMES="8",
    ) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds with a face."""
    path = tmp_path_factory.mktemp("older-media") / "clip.mp4"
    clips.video(path, frames=40, size=(320, 320), paint=lambda index: portraits.portrait(320))
    return path.read_bytes()


@pytest.fixture
def person(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


def token(person: Person) -> dict[str, str]:
    return {"Authorization": f"Token {person.make_token()}"}


def test_s0_a_page_and_predict_with_a_video(http: httpx.Client, person: Person, video: bytes):
    """`GET /`; `POST /predict` with the form field `file` -> prediction, deepfake_ratio, total and deepfake frames."""
    page = http.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    answer = http.post("/predict", files={"file": ("video.mp4", video, "video/mp4")}, headers=token(person))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["prediction"] in ("Real", "Deepfake", "Inconclusive")
    assert body["total_frames"] == 8
    assert 0 <= body["deepfake_frames"] <= body["total_frames"]
    assert body["deepfake_ratio"] == pytest.approx(body["deepfake_frames"] / body["total_frames"])


def test_s1_health_predict_frames_and_clear_errors(http: httpx.Client, video: bytes):
    """Its page at http://localhost:3000 had no account: the site's owner has opened `/predict`."""
    origin = {"Origin": "http://localhost:3000"}
    health = http.get("/", headers={"Accept": "application/json", **origin})
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    answer = http.post("/predict", params={"labels": "fake"}, files={"file": ("me.mp4", video)}, headers=origin)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    body = answer.json()
    assert body["status"] == "success"
    assert body["prediction"] in ("Real", "Fake", "Inconclusive")
    assert body["confidence"] is None or 0 <= body["confidence"] <= 1
    assert all(isinstance(text, str) for text in body["anomalies"])
    assert body["frames"]
    for url in body["frames"]:
        frame = http.get(url)
        assert (frame.status_code, frame.headers["Content-Type"]) == (200, "image/jpeg")
        assert http.get(url.partition("?")[0]).status_code == 404, "without its key it is nobody's"

    def refused(files: dict | None) -> tuple[int, str]:
        answer = http.post("/predict", files=files, headers=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        return answer.status_code, answer.json()["code"]

    assert refused({"file": ("notes.txt", b"text")}) == (415, "unsupported_type")
    assert refused(None) == (400, "missing_file")
    assert refused({"file": ("big.mp4", b"x" * 3_000_000)}) == (413, "file_too_large")
    assert refused({"file": ("broken.mp4", video[: len(video) // 2])})[0] in (200, 422)


def test_s2_a_web_page_that_takes_a_video_and_shows_what_was_found(person: Person, video: bytes):
    page = person.http.get("/", headers={"Accept": "text/html"}).text
    assert 'type="file"' in page
    hidden = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
    form = {"csrfmiddlewaretoken": hidden}
    sent = person.http.post("/upload/", data=form, files={"file": ("a.mp4", video)}, headers={"Accept": "text/html"})
    assert sent.status_code == 302
    id_ = sent.headers["Location"].rstrip("/").rsplit("/", 1)[1]
    done = person.wait(id_, ended)
    assert done["status"] == "succeeded"
    shown = person.http.get(sent.headers["Location"], headers={"Accept": "text/html"}).text
    assert f'data-verdict="{done["result"]["verdict"]}"' in shown


def test_s3_a_rest_upload(http: httpx.Client, person: Person, video: bytes):
    """Upload, then read boxes, scores and times of every face."""
    mine = token(person)
    sent = http.post("/api/v1/analyses/", files={"file": ("clip.mp4", video)}, headers=mine)
    assert sent.status_code == 202
    done = person.wait(sent.json()["id"], ended)
    (frame, *_others) = done["result"]["frames"]
    assert {"box", "score", "track"} <= set(frame["faces"][0])


def test_s4_an_image_page_with_five_uploads_a_minute(person: Person):
    """Verdict and confidence stand in the page; the sixth upload is refused. (Here in a day: a minute might end.)"""
    for number in range(5):
        page = person.http.get("/", headers={"Accept": "text/html"}).text
        form = {"csrfmiddlewaretoken": re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]}
        files = {"file": (f"{number}.jpg", factories.jpeg((70 + number, 64)))}
        sent = person.http.post("/upload/", data=form, files=files, headers={"Accept": "text/html"})
        assert sent.status_code == 302
    shown = person.wait(sent.headers["Location"].rstrip("/").rsplit("/", 1)[1], ended)
    assert shown["status"] == "succeeded"
    refused = person.http.post("/upload/", data=form, files=files, headers={"Accept": "text/html"})
    assert (refused.status_code, "too much at once" in refused.text) == (429, True)
    assert refused.headers["Retry-After"]
