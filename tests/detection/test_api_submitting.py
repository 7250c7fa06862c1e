"""Sending a file as a program: waiting, sending twice, sending what was seen before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts.models import User
from detection import idempotency, services, serving
from detection.models import Analysis, IdempotentRequest, Upload
from detection.problems import Refused
from tests import factories

pytestmark = pytest.mark.django_db
LIST = "/api/v1/analyses/"


def send(client: Client, *, name: str = "face.jpg", content: bytes | None = None, headers: dict | None = None, **data):
    return client.post(LIST, {"file": factories.uploaded(name, content), **data}, headers=headers)


def finish(**fields) -> None:
    """A worker is done with everything that was sent."""
    values = {"status": "succeeded", "verdict": "authentic", "score": 0.1, "finished_at": timezone.now(), **fields}
    Analysis.objects.update(**serving.columns(serving.served()), started_at=timezone.now(), **values)


# -- At once, or after a while ----------------------------------------------------------------------------------------


def test_the_answer_comes_at_once_and_says_where_to_look(owner_client: Client):
    answer = send(owner_client, external_id="ticket-1")
    assert answer.status_code == 202
    body = answer.json()
    assert (body["status"], body["reused"], body["external_id"]) == ("queued", False, "ticket-1")
    assert answer["Location"] == body["poll_url"]
    assert int(answer["Retry-After"]) >= 1
    assert "Preference-Applied" not in answer


def test_how_long_it_should_take_is_guessed_from_the_last_ones(owner_client: Client):
    send(owner_client)
    now = timezone.now()
    Analysis.objects.update(status="succeeded", started_at=now - timedelta(seconds=6), finished_at=now)
    answer = send(owner_client, force="true")
    assert answer.json()["eta_seconds"] == pytest.approx(6, abs=0.5)
    assert answer["Retry-After"] == "6"
    send(owner_client, force="true")
    assert send(owner_client, force="true").json()["eta_seconds"] == pytest.approx(18, abs=0.5)


@pytest.mark.django_db(transaction=True)
def test_whoever_prefers_to_wait_gets_the_result(owner_client: Client):
    def work() -> None:
        while not Analysis.objects.exists():
            time.sleep(0.05)
        finish(verdict="manipulated", score=0.99)
        connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    answer = send(owner_client, headers={"Prefer": "respond-async, wait=30"})
    worker.join()
    assert (answer.status_code, answer["Preference-Applied"]) == (200, "wait=30")
    body = answer.json()
    assert (body["status"], body["result"]["verdict"], body["reused"]) == ("succeeded", "manipulated", False)
    assert body["poll_url"] == answer["Location"]


def test_whoever_waits_too_short_gets_what_everybody_gets(owner_client: Client):
    answer = send(owner_client, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer["Preference-Applied"]) == (202, "wait=1")


@pytest.mark.parametrize(
    ("said", "heard"), [("wait=5", 5), ("wait=9999", 30), ('WAIT="7"; x=1', 7), ("wait=soon", None), ("wait=-1", None)]
)
def test_what_a_preference_means(rf, said: str, heard: int | None):
    from detection.api.submissions import preferred_wait

    assert preferred_wait(rf.get("/", headers={"Prefer": said})) == heard


def test_only_so_many_may_wait(owner: User, monkeypatch):
    monkeypatch.setattr(services, "_waiting", threading.BoundedSemaphore(1))
    analysis = factories.make_analysis(owner)
    assert services._waiting.acquire(blocking=False)
    assert services.wait_until_ended(analysis=analysis, seconds=3600) is False, "it would still be waiting"


@pytest.mark.django_db(transaction=True)
def test_what_is_deleted_during_the_wait_is_said_to_be(owner: User):
    analysis = factories.make_analysis(owner)

    def remove() -> None:
        services.delete(analysis=Analysis.objects.get(pk=analysis.pk))
        connections.close_all()

    other = threading.Thread(target=remove)
    other.start()
    with pytest.raises(Refused, match="deleted"):
        services.wait_until_ended(analysis=analysis, seconds=30)
    other.join()
    assert services._waiting.acquire(blocking=False), "its place is free again"
    services._waiting.release()


# -- Twice ------------------------------------------------------------------------------------------------------------


def test_the_same_key_gets_the_same_answer(owner_client: Client):
    key = {"Idempotency-Key": "order-1"}
    first, again = send(owner_client, headers=key), send(owner_client, headers=key)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again["Idempotent-Replayed"] == "true"
    assert again["Location"] == first["Location"]
    assert "Idempotent-Replayed" not in first
    assert Upload.objects.count() == 1


def test_what_was_deleted_is_not_answered_again(owner_client: Client):
    key = {"Idempotency-Key": "order-1"}
    first = send(owner_client, headers=key).json()
    other = send(owner_client, headers={"Idempotency-Key": "order-2"}, force="true").json()
    owner_client.delete(f"/api/v1/analyses/{first['id']}/")
    again = send(owner_client, headers=key)
    assert (again.status_code, again.json()["id"] == first["id"], "Idempotent-Replayed" in again) == (202, False, False)
    assert send(owner_client, headers={"Idempotency-Key": "order-2"}, force="true").json() == other


@pytest.mark.parametrize("other", [{"content": factories.jpeg((9, 9))}, {"name": "b.jpg"}, {"external_id": "x"}])
def test_the_same_key_for_something_else_is_refused(owner_client: Client, other: dict):
    key = {"Idempotency-Key": "order-1"}
    send(owner_client, headers=key)
    answer = send(owner_client, headers=key, **other)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert Upload.objects.count() == 1


def test_keys_of_others_are_none_of_ones_business(owner_client: Client, stranger: User):
    key = {"Idempotency-Key": "order-1"}
    mine = send(owner_client, headers=key).json()["id"]
    other = Client()
    other.force_login(stranger)
    assert send(other, headers=key).json()["id"] != mine


def test_a_key_is_free_again_after_a_refusal(owner_client: Client, settings: LazySettings):
    key = {"Idempotency-Key": "order-1"}
    settings.DAILY_QUOTA = 1
    send(owner_client)
    assert send(owner_client, headers=key).status_code == 429
    settings.DAILY_QUOTA = 2
    assert send(owner_client, headers=key).status_code == 202


def test_a_key_is_forgotten_in_time(owner_client: Client):
    key = {"Idempotency-Key": "order-1"}
    first = send(owner_client, headers=key).json()["id"]
    IdempotentRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert send(owner_client, headers=key, name="other.jpg").json()["id"] != first
    IdempotentRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    services.sweep()
    assert not IdempotentRequest.objects.exists()


def test_a_key_that_is_in_use_and_one_whose_request_died(owner: User):
    with idempotency.attempt(user=owner, key="k", print_="p") as first:
        assert first.earlier is None
        with pytest.raises(Refused) as error, idempotency.attempt(user=owner, key="k", print_="p"):
            pass
        assert (error.value.code, error.value.retry_after) == ("idempotency_key_in_use", 1)
        # The process that held it was killed: after a while the next one takes it over.
        IdempotentRequest.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
        with idempotency.attempt(user=owner, key="k", print_="p") as second:
            assert second.earlier is None
            second.answered(202, {"id": "7"})
    with idempotency.attempt(user=owner, key="k", print_="p") as third:
        assert third.earlier == (202, {"id": "7"})


@pytest.mark.parametrize("key", ["k" * 201, "a\x01b"])
def test_a_key_that_is_none(owner_client: Client, key: str):
    answer = send(owner_client, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.django_db(transaction=True)
def test_the_same_key_many_times_at_once(owner: User):
    def post(number: int):
        client = Client()
        client.force_login(owner)
        try:
            return send(client, headers={"Idempotency-Key": "order-1"})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {a.status_code for a in answers} <= {202, 409}
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"idempotency_key_in_use"}
    assert len({a.json()["id"] for a in answers if a.status_code == 202}) == 1
    assert Upload.objects.count() == 1


# -- What was seen before ---------------------------------------------------------------------------------------------


def test_the_same_bytes_and_model_are_answered_from_the_earlier_result(owner_client: Client):
    first = send(owner_client).json()["id"]
    finish()
    answer = send(owner_client, name="another name.jpg")
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["reused"]) == (first, True)
    assert answer.json()["result"]["verdict"] == "authentic"
    assert Upload.objects.count() == 1


def test_how_long_it_is_kept_holds_for_the_earlier_file(owner_client: Client):
    send(owner_client, retain_seconds="86400")
    finish()
    upload = Upload.objects.get()
    finished = Analysis.objects.get().finished_at
    assert finished is not None
    Upload.objects.update(media_expires_at=finished + timedelta(days=1))
    answer = send(owner_client, retain_seconds="0")
    assert (answer.status_code, answer.json()["reused"]) == (200, True)
    assert answer.json()["media"]["retain_seconds"] == 0
    upload.refresh_from_db()
    assert (upload.keep_seconds, upload.media_expires_at) == (0, finished)
    send(owner_client)
    upload.refresh_from_db()
    assert upload.keep_seconds == 0, "nothing was said"
    Upload.objects.update(media_deleted_at=timezone.now())
    assert send(owner_client, retain_seconds="600").status_code == 200, "the file is gone, the result answers"


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"force": "true"},
        lambda: {"content": factories.jpeg((9, 9))},
        lambda: {"external_id": "another"},
        lambda: Analysis.objects.update(model_sha256="0" * 64) and {},
        lambda: Analysis.objects.update(status="failed") and {},
    ],
    ids=["forced", "other bytes", "other external_id", "other model", "it had failed"],
)
def test_otherwise_it_is_analysed_anew(owner_client: Client, change: Callable[[], dict]):
    first = send(owner_client, external_id="one").json()["id"]
    finish()
    answer = send(owner_client, **change())
    assert answer.status_code == 202
    assert answer.json()["id"] != first
    assert answer.json()["reused"] is False


def test_what_others_found_is_theirs(owner_client: Client, stranger: User):
    send(owner_client)
    finish()
    other = Client()
    other.force_login(stranger)
    assert send(other).status_code == 202


# -- What the client calls it -----------------------------------------------------------------------------------------


def test_an_external_id_is_kept_found_and_need_not_be_unique(owner_client: Client):
    ids = {send(owner_client, external_id="ticket-1", force="true").json()["id"] for _ in range(2)}
    send(owner_client, external_id="ticket-10", force="true")
    assert len(ids) == 2
    found = owner_client.get(LIST, {"external_id": "ticket-1"}).json()["results"]
    assert {row["id"] for row in found} == ids
    assert {row["external_id"] for row in found} == {"ticket-1"}


def test_it_stays_when_the_analysis_is_run_again(owner_client: Client):
    id_ = send(owner_client, external_id="ticket-1").json()["id"]
    finish()
    assert owner_client.post(f"{LIST}{id_}/retry/").json()["external_id"] == "ticket-1"


@pytest.mark.parametrize("external_id", ["x" * 201, "a\x00b"])
def test_an_external_id_that_cannot_be_kept(owner_client: Client, external_id: str):
    for answer in (send(owner_client, external_id=external_id), owner_client.get(LIST, {"external_id": external_id})):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert not Upload.objects.exists()
