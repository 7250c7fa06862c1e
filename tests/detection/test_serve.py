"""``manage.py serve`` as a process: real server, real worker, real engine, real signals."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from detection.engine.registry import find_model
from tests import clips, factories
from tests.detection.person import PATIENCE, Person, at_work, ended
from tests.e2e.server import ROOT, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Many frames and one thread: an analysis lasts long enough to step into it."""
    with Server(tmp_path_factory.mktemp("serve"), VERIFRAME_FRAMES="150", VERIFRAME_THREADS="1") as server:
        yield server


@pytest.fixture
def person(server: Server) -> Iterator[Person]:
    with Person(server) as person:
        yield person


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.video(tmp_path_factory.mktemp("clips") / "long.mp4", frames=160, size=(1280, 720))


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "grey.jpg"
    path.write_bytes(factories.jpeg((320, 240)))
    return path


def test_a_picture_gets_its_answer(person: Person, portrait: Path):
    done = person.wait(person.upload(portrait)["id"], ended)
    assert (done["status"], done["result"]["verdict"]) == ("succeeded", "inconclusive")
    assert [reason["code"] for reason in done["result"]["reasons"]] == ["no_face"]
    assert done["result"]["model"]["sha256"] == find_model().sha256


def test_a_real_clip_gets_a_verdict_with_all_its_pictures(person: Person, shared_data: Path):
    clip = sorted((shared_data / "clips" / "val").rglob("*.mp4"))[0]
    done = person.wait(person.upload(clip)["id"], ended)
    assert done["status"] == "succeeded", done["error"]
    result = done["result"]
    assert 0 <= result["score"] <= 1
    assert result["tracks"]
    assert (done["media"]["kind"], done["media"]["mime"]) == ("video", "video/mp4")
    assert done["media"]["duration"] > 1
    urls = [track["thumbnail_url"] for track in result["tracks"]] + [done["media"]["url"]]
    urls += [face[key] for frame in result["frames"] for face in frame["faces"] for key in ("crop_url", "heatmap_url")]
    for url in urls:
        assert person.http.get(url).raise_for_status().content
    part = person.http.get(done["media"]["url"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, clip.read_bytes()[100:200])


def test_a_video_that_cannot_be_read_fails_with_its_code_and_the_worker_lives_on(person: Person, tmp_path: Path):
    whole = clips.video(tmp_path / "whole.mp4", frames=60)
    broken = person.upload(clips.cut(whole, tmp_path / "cut.mp4", 0.5))
    assert person.wait(broken["id"], ended)["error"]["code"] == "unreadable_media"
    silent = person.upload(clips.audio_only(tmp_path / "sound.mp4"))
    assert person.wait(silent["id"], ended)["error"]["code"] == "unreadable_media"
    assert person.wait(person.upload(whole)["id"], ended)["status"] == "succeeded"


def test_news_come_over_the_websocket(person: Person, server: Server, long_video: Path):
    answer = person.upload(long_video)

    async def listen() -> list[dict]:
        headers = {"Cookie": person.cookies()}
        messages = []
        async with websockets.connect(answer["ws_url"], origin=server.url, additional_headers=headers) as socket:
            async with asyncio.timeout(PATIENCE):
                async for text in socket:
                    messages.append(json.loads(text))
                    if ended({"status": messages[-1].get("status")}):
                        break
        return messages

    messages = asyncio.run(listen())
    assert messages[0]["type"] == "analysis.snapshot"
    assert messages[-1]["status"] == "succeeded"
    percents = [message["percent"] for message in messages if "percent" in message]
    assert percents == sorted(percents)
    assert len(set(percents)) > 5


def test_cancelling_frees_the_worker(person: Person, long_video: Path, tmp_path: Path):
    running = person.upload(long_video)["id"]
    person.wait(running, at_work)
    headers = {"X-CSRFToken": person.http.cookies["csrftoken"]}
    assert person.http.post(f"/api/v1/analyses/{running}/cancel/", headers=headers).status_code == 200
    another = clips.video(tmp_path / "short.mp4", frames=30)
    assert person.wait(person.upload(another)["id"], ended)["status"] == "succeeded"
    assert person.look(running)["status"] == "cancelled"


def test_kill_dash_nine_in_the_middle_loses_nothing(person: Person, server: Server, long_video: Path, portrait: Path):
    running, waiting = person.upload(long_video)["id"], person.upload(portrait)["id"]
    person.wait(running, at_work)
    server.kill()
    server.start()
    assert person.wait(running, ended)["status"] == "succeeded"
    assert person.wait(waiting, ended)["status"] == "succeeded"
    (attempts,) = server.rows("SELECT attempts FROM detection_analysis WHERE id = ?", running.replace("-", ""))
    assert attempts == (2,)
    log = server.log.read_text()
    assert len(re.findall(rf"analysis {running}: inconclusive", log)) == 1
    hidden = {path.name for path in (server.folder / "media").rglob(".*")}
    assert hidden <= {".veriframe", ".incoming"}, "no trash, and nothing half-written"


def test_a_friendly_stop_hands_the_work_back_within_seconds(person: Person, server: Server, long_video: Path):
    running = person.upload(long_video)["id"]
    person.wait(running, at_work)
    server.stop()  # raises if it takes longer than its patience
    (row,) = server.rows(
        "SELECT status, attempts, claim_token FROM detection_analysis WHERE id = ?", running.replace("-", "")
    )
    assert row == ("queued", 0, None)
    server.start()
    assert person.wait(running, ended)["status"] == "succeeded"


def test_a_port_that_is_taken_is_said_and_the_running_server_keeps_its_work(
    person: Person, server: Server, long_video: Path
):
    running = person.upload(long_video)["id"]
    person.wait(running, at_work)
    second = subprocess.run(
        [sys.executable, "manage.py", "serve", "--port", str(server.port)],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode != 0
    assert "Try another --port" in second.stderr
    assert "Traceback" not in second.stderr
    assert person.wait(running, ended)["status"] == "succeeded"
    assert server.rows("SELECT attempts FROM detection_analysis WHERE id = ?", running.replace("-", "")) == [(1,)]
