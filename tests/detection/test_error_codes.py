"""Every documented error code is provoked here, by what a client would do to get it.

The table is held to the code, and the code to the README (tests/test_docs.py): a new code needs a line here.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from dramatiq.middleware import TimeLimitExceeded

from accounts.models import User
from detection import judges, readiness, runner, services, serving
from detection.api import account
from detection.engine.errors import ErrorCode
from detection.models import Analysis, IdempotentRequest
from detection.problems import STATUS_BY_CODE
from tests import clips, factories
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/api/v1/analyses/"


@dataclass
class Scene:
    """What somebody who provokes an error has at hand."""

    client: Client
    owner: User
    settings: LazySettings
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def send(self, name: str = "face.jpg", content: bytes | None = None, path: str = LIST, **options: Any) -> Any:
        return self.client.post(path, {"file": factories.uploaded(name, content), **options.pop("data", {})}, **options)


@pytest.fixture
def scene(owner: User, settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    client = Client(raise_request_exception=False)
    client.force_login(owner)
    return Scene(client, owner, settings, tmp_path, monkeypatch)


def file_too_large(scene: Scene) -> Any:
    scene.settings.MAX_UPLOAD_BYTES = 100
    return scene.send()


def csrf_failed(scene: Scene) -> Any:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(scene.owner)
    return strict.post(LIST)


def permission_denied(scene: Scene) -> Any:
    """Only staff may read the admin; a program is told so as a program."""
    from django.core.exceptions import PermissionDenied

    def refuse(*args: Any) -> None:
        raise PermissionDenied

    scene.monkeypatch.setattr(account.Me, "get", refuse)
    return scene.client.get("/api/v1/me/")


def conflict(scene: Scene) -> Any:
    analysis = factories.make_analysis(scene.owner, status="succeeded")
    return scene.client.post(f"{LIST}{analysis.pk}/cancel/")


def idempotency_key_reused(scene: Scene) -> Any:
    key = {"Idempotency-Key": "k"}
    scene.send(headers=key)
    return scene.send(headers=key, name="other.jpg")


def idempotency_key_in_use(scene: Scene) -> Any:
    key = {"Idempotency-Key": "k"}
    scene.send(headers=key)
    IdempotentRequest.objects.update(status=None, answer=None)  # as while the first one is at work
    return scene.send(headers=key)


def analysis_failed(scene: Scene) -> Any:
    analysis = factories.make_analysis(scene.owner, status="failed", error_code="unreadable_media", error_message="x")
    answer = scene.client.get(f"/predict/{analysis.pk}/")
    assert answer.json()["error"] == {"code": "unreadable_media", "message": "x"}
    return answer


def too_many_requests(scene: Scene) -> Any:
    none = {"user": None, "address": None}
    scene.settings.RATE_LIMITS = {"uploads": {"user": "1/d", "address": None}, "requests": none}
    scene.send()
    return scene.send()


def quota_exceeded(scene: Scene) -> Any:
    scene.settings.DAILY_QUOTA = 1
    scene.send()
    return scene.send()


def storage_full(scene: Scene) -> Any:
    scene.settings.STORAGE_BYTES = 1
    return scene.send()


def media_deleted(scene: Scene) -> Any:
    upload = factories.make_upload(scene.owner, media_deleted_at=timezone.now())
    return scene.client.post(f"{LIST}{factories.make_analysis(upload=upload, status='failed').pk}/retry/")


def server_error(scene: Scene) -> Any:
    def bug(*args: Any) -> None:
        raise RuntimeError("a bug")

    scene.monkeypatch.setattr(account.Me, "get", bug)
    return scene.client.get("/api/v1/me/")


def not_ready(scene: Scene) -> Any:
    readiness._hashed.cache_clear()
    scene.settings.ANALYSIS_WEIGHTS_DIR = scene.folder
    answer = scene.client.get("/ready/")
    assert answer.json()["checks"] == {"database": "ok", "broker": "ok", "model": "failed"}
    return answer


def unavailable(scene: Scene) -> Any:
    def away(*args: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    scene.monkeypatch.setattr(account.Me, "get", away)
    answer = scene.client.get("/api/v1/me/")
    assert int(answer["Retry-After"]) > 0
    return answer


def disk_full(scene: Scene) -> Any:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    scene.monkeypatch.setattr(services.HashedFile, "chunks", full)
    return scene.send()


PROVOKED: dict[str, Callable[[Scene], Any]] = {
    "missing_file": lambda scene: scene.client.post(LIST),
    "empty_file": lambda scene: scene.send(content=b""),
    "file_too_large": file_too_large,
    "unsupported_type": lambda scene: scene.send("notes.txt", b"text"),
    "content_mismatch": lambda scene: scene.send("clip.mp4", b"only text"),
    "too_many_pixels": lambda scene: scene.send(
        "huge.png", clips.png_header(scene.folder / "huge.png", 30_000, 30_000).read_bytes()
    ),
    "invalid_request": lambda scene: scene.client.get(LIST, {"verdict": "perhaps"}),
    "invalid_webhook_url": lambda scene: scene.send(data={"callback_url": "http://127.0.0.1/"}),
    "not_authenticated": lambda scene: Client().get(LIST),
    "invalid_token": lambda scene: Client(headers={"Authorization": "Token x"}).get(LIST),
    "permission_denied": permission_denied,
    "csrf_failed": csrf_failed,
    "not_found": lambda scene: scene.client.get(f"{LIST}00000000-0000-4000-8000-000000000000/"),
    "method_not_allowed": lambda scene: scene.client.put(LIST),
    "conflict": conflict,
    "idempotency_key_reused": idempotency_key_reused,
    "idempotency_key_in_use": idempotency_key_in_use,
    "analysis_failed": analysis_failed,
    "too_many_requests": too_many_requests,
    "quota_exceeded": quota_exceeded,
    "storage_full": storage_full,
    "media_deleted": media_deleted,
    "server_error": server_error,
    "not_ready": not_ready,
    "unavailable": unavailable,
    "disk_full": disk_full,
}


def test_no_code_is_left_out():
    assert set(PROVOKED) == set(STATUS_BY_CODE)
    assert set(FAILURES) == set(ErrorCode)


@pytest.mark.parametrize("code", PROVOKED)
def test_a_refusal(scene: Scene, code: str):
    answer = PROVOKED[code](scene)
    problem = answer.json()
    assert (problem["code"], problem["status"], answer.status_code) == (code, STATUS_BY_CODE[code], answer.status_code)
    assert answer["Content-Type"] == "application/problem+json"
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer["X-Request-ID"]
    if answer.status_code == 429:
        assert int(answer["Retry-After"]) > 0


def test_the_request_has_one_name_in_the_answer_and_in_the_log(scene: Scene, caplog):
    from config.request_id import LogFilter

    caplog.handler.addFilter(LogFilter())
    answer = scene.client.get("/api/v1/nowhere/", headers={"X-Request-ID": "from-my-client-42"})
    assert answer["X-Request-ID"] == answer.json()["request_id"] == "from-my-client-42"
    assert {record.request_id for record in caplog.records if "nowhere" in record.getMessage()} == {"from-my-client-42"}
    for forged in ("short", "two\tlines-of-log", "x" * 65, "ünïcödé-name"):
        other = scene.client.get("/health/", headers={"X-Request-ID": forged})["X-Request-ID"]
        assert other != forged
        assert len(other) == 32
    assert scene.client.get("/")["X-Request-ID"] != scene.client.get("/")["X-Request-ID"]


# -- An analysis fails ------------------------------------------------------------------------------------------------


def analysed(scene: Scene, name: str, content: bytes, engine: Any = None) -> Any:
    sent = scene.send(name, content).json()
    runner.run(Analysis.objects.get(pk=sent["id"]).pk, **({} if engine is None else {"engine": engine}))
    return scene.client.get(f"{LIST}{sent['id']}/").json()


def unreadable_media(scene: Scene) -> Any:
    return analysed(scene, "tone.mp4", clips.audio_only(scene.folder / "tone.mp4").read_bytes())


def unsupported_codec(scene: Scene) -> Any:
    """A stream whose codec has a name that nobody knows."""
    content = clips.video(scene.folder / "clip.mp4", frames=10).read_bytes()
    return analysed(scene, "clip.mp4", content.replace(b"avc1", b"xxx1"))


def media_too_long(scene: Scene) -> Any:
    two_seconds = clips.video(scene.folder / "short.mkv", frames=60)
    long = clips.claim_duration(two_seconds, scene.folder / "long.mkv", 12 * 3600.0)
    return analysed(scene, "long.mkv", long.read_bytes())


def too_many_pixels(scene: Scene) -> Any:
    """A video: of a picture the header has told before."""
    scene.settings.MAX_PIXELS = 100
    content = clips.video(scene.folder / "clip.mp4", frames=10).read_bytes()
    return analysed(scene, "clip.mp4", content, lambda: judges.build(serving.served()))


def model_unavailable(scene: Scene) -> Any:
    scene.settings.ANALYSIS_WEIGHTS_DIR = scene.folder
    return analysed(scene, "face.jpg", factories.jpeg(), lambda: judges.build(serving.served()))


def raising(error: BaseException) -> Callable[[Scene], Any]:
    """What the process or a bug brings on: it cannot be had by a file."""

    def between(frame: int) -> None:
        raise error

    return lambda scene: analysed(scene, "face.jpg", factories.jpeg(), FakePipeline(between=between))


def no_room_at_the_last_attempt(scene: Scene) -> Any:
    scene.settings.ANALYSIS_ATTEMPTS = 1
    return raising(OSError(errno.ENOSPC, "No space left on device"))(scene)


FAILURES: dict[str, Callable[[Scene], Any]] = {
    "unreadable_media": unreadable_media,
    "unsupported_codec": unsupported_codec,
    "media_too_long": media_too_long,
    "too_many_pixels": too_many_pixels,
    "model_unavailable": model_unavailable,
    "out_of_memory": raising(MemoryError()),
    "timed_out": raising(TimeLimitExceeded()),
    "disk_full": no_room_at_the_last_attempt,
    "internal_error": raising(RuntimeError("a bug")),
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure(scene: Scene, code: str):
    body = FAILURES[code](scene)
    assert (body["status"], body["result"]) == ("failed", None)
    assert body["error"]["code"] == code
    assert body["error"]["message"]
    answer = scene.client.get(f"/predict/{body['id']}/")
    assert (answer.status_code, answer.json()["code"]) == (422, "analysis_failed")
    assert answer.json()["error"] == body["error"]
