"""From the end of an analysis to the receiver, and what becomes of it when nobody answers."""

from __future__ import annotations

import json
from datetime import timedelta

import dramatiq
import pytest
from django.db import transaction
from django.utils import timezone
from standardwebhooks import Webhook

from detection import reports, runner, services
from detection.models import Analysis, WebhookDelivery, WebhookEndpoint, WebhookEvent
from detection.problems import Refused
from detection.webhooks import delivery, endpoints, outbox
from tests import factories
from tests.fakes import FakePipeline
from tests.receiver import Answer

pytestmark = pytest.mark.django_db

Status = WebhookDelivery.Status


def messages() -> list[str]:
    """The deliveries that the queue knows of, at once or later."""
    queues = dramatiq.get_broker().queues
    waiting = [data for name in ("webhooks", "webhooks.DQ") for data in list(queues[name].queue)]
    return [dramatiq.Message.decode(data).args[0] for data in waiting]


def only() -> WebhookDelivery:
    return WebhookDelivery.objects.select_related("event", "endpoint").get()


def make_due(row: WebhookDelivery) -> None:
    WebhookDelivery.objects.filter(pk=row.pk).update(next_try_at=timezone.now())


def try_until_it_ends(row: WebhookDelivery) -> WebhookDelivery:
    """As if all the time between the attempts had passed."""
    while row.status == Status.PENDING:
        make_due(row)
        delivery.attempt(row.pk)
        row.refresh_from_db()
    return row


# -- An analysis ends -------------------------------------------------------------------------------------------------


def test_a_finished_analysis_is_told_with_its_result_and_signed(owner, webhook, receiver, committed):
    analysis = factories.make_analysis(owner)
    with committed():
        runner.run(analysis.pk, engine=FakePipeline())
    row = only()
    assert messages() == [str(row.pk)]
    delivery.attempt(row.pk)
    (request,) = receiver.received
    body = Webhook(webhook.secret).verify(request.body, request.headers)
    analysis.refresh_from_db()
    assert body == {
        "id": request.headers["webhook-id"],
        "type": "analysis.completed",
        "timestamp": row.event.created_at.isoformat(),
        "data": json.loads(json.dumps(reports.analysis_payload(analysis), default=str)),
    }
    assert body["data"]["result"]["verdict"] == "manipulated"
    assert request.headers["content-type"] == "application/json"
    row.refresh_from_db()
    assert (row.status, row.attempts, row.answer_code, row.next_try_at) == ("delivered", 1, 200, None)


def test_a_failure_and_a_cancellation_are_told_as_what_they_are(owner, webhook, committed):
    failing, cancelled = factories.make_analysis(owner), factories.make_analysis(owner)

    def die(frame: int) -> None:
        raise MemoryError

    with committed():
        runner.run(failing.pk, engine=FakePipeline(between=die))
        services.cancel(analysis=cancelled)
    found = {event.type: json.loads(event.body)["data"] for event in WebhookEvent.objects.all()}
    assert found["analysis.failed"]["error"]["code"] == "out_of_memory"
    assert found["analysis.cancelled"]["id"] == str(cancelled.pk)
    assert len(found) == 2


def test_deleting_what_still_waits_is_a_cancellation_that_outlives_the_row(owner, webhook, receiver, committed):
    analysis = factories.make_analysis(owner)
    with committed():
        services.delete(analysis=analysis)
    row = only()
    assert row.event.analysis is None
    delivery.attempt(row.pk)
    body = json.loads(receiver.received[0].body)
    assert (body["type"], body["data"]["id"]) == ("analysis.cancelled", str(analysis.pk))
    delivery.sweep()
    assert not WebhookEvent.objects.exists()  # it was told: nothing of the deleted analysis is left


def test_the_sweeper_leaves_what_is_still_to_be_told_of_a_deleted_analysis(owner, webhook):
    services.delete(analysis=factories.make_analysis(owner))
    delivery.sweep()
    assert only().status == Status.PENDING


def test_deleting_what_has_ended_tells_nothing_anew_and_leaves_nothing_in_the_log(owner, webhook):
    analysis = factories.make_result(owner)
    outbox.record(analysis)
    services.delete(analysis=analysis)
    assert not WebhookEvent.objects.exists()


def test_only_those_who_want_to_know_are_told(owner, stranger, receiver):
    endpoints.create(user=owner, url=receiver.url, events=["analysis.failed"])
    endpoints.create(user=stranger, url=receiver.url, events=["analysis.cancelled"])
    paused = endpoints.create(user=owner, url=receiver.url, events=["analysis.cancelled"])
    endpoints.pause(endpoint=paused)
    services.cancel(analysis=factories.make_analysis(owner))
    assert not WebhookEvent.objects.exists()


def test_an_address_of_a_single_request_is_told_and_signed_with_the_users_callback_secret(owner, receiver, committed):
    secret = endpoints.rotate_callback_key(user=owner)
    analysis = factories.make_analysis(owner, callback_url=receiver.url + "?job=7")
    with committed():
        services.cancel(analysis=analysis)
    delivery.attempt(only().pk)
    (request,) = receiver.received
    assert request.path == "/hook?job=7"
    assert Webhook(secret).verify(request.body, request.headers)["data"]["id"] == str(analysis.pk)


def test_a_second_run_keeps_the_address_and_is_another_event(owner, receiver):
    analysis = factories.make_analysis(owner, callback_url=receiver.url)
    services.cancel(analysis=analysis)
    services.retry(analysis=analysis)
    services.cancel(analysis=analysis)
    assert WebhookEvent.objects.values("pk").distinct().count() == 2


def test_nothing_is_promised_when_the_end_is_not_stored(owner, webhook, django_capture_on_commit_callbacks):
    analysis = factories.make_result(owner)

    def end_and_fail() -> None:
        with transaction.atomic():
            outbox.record(analysis)
            raise RuntimeError

    with django_capture_on_commit_callbacks() as callbacks, pytest.raises(RuntimeError):
        end_and_fail()
    assert not WebhookEvent.objects.exists()
    assert callbacks == []


def test_a_broker_that_is_away_loses_nothing(owner, webhook, committed, monkeypatch):
    broker = dramatiq.get_broker()

    def away(*args, **kwargs):
        raise dramatiq.errors.ConnectionClosed("away")

    with monkeypatch.context() as patch:
        patch.setattr(broker, "enqueue", away)
        with committed():
            services.cancel(analysis=factories.make_analysis(owner))
        assert delivery.sweep() == 0  # too young: its message may be on its way
        WebhookDelivery.objects.update(next_try_at=timezone.now() - timedelta(minutes=1))
        assert delivery.sweep() == 0  # still away
    row = only()
    assert row.message_at is None
    services.sweep()
    assert messages() == [str(row.pk)]
    assert delivery.sweep() == 0  # it is in the queue: not again at once


def test_a_broker_that_is_away_is_asked_once_in_each_sweep(owner, webhook, committed, monkeypatch):
    """To say so may take it long, for each message anew."""
    asked: list[object] = []

    def away(message, *, delay=None):
        asked.append(message)
        raise dramatiq.errors.ConnectionClosed("away")

    monkeypatch.setattr(dramatiq.get_broker(), "enqueue", away)
    with committed():
        for _ in range(3):
            services.cancel(analysis=factories.make_analysis(owner))
    WebhookDelivery.objects.update(next_try_at=timezone.now() - timedelta(minutes=1))
    asked.clear()
    assert delivery.sweep() == 0
    assert len(asked) == 1
    assert list(WebhookDelivery.objects.values_list("message_at", flat=True)) == [None] * 3


# -- Nobody answers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def owed(owner, webhook, committed) -> WebhookDelivery:
    """Something that waits to be sent."""
    with committed():
        services.cancel(analysis=factories.make_analysis(owner))
    dramatiq.get_broker().flush_all()
    return only()


def test_an_answer_that_is_no_success_is_tried_again_later_and_later(owed, receiver):
    receiver.answers = [Answer(500, b"oops"), Answer(503), Answer(404), Answer(200)]
    waits = []
    for _ in range(3):
        before = timezone.now()
        make_due(owed)
        delivery.attempt(owed.pk)
        owed.refresh_from_db()
        assert owed.status == Status.PENDING
        waits.append(owed.next_try_at - before)
    assert [wait >= least for wait, least in zip(waits, delivery.BACKOFF, strict=False)] == [True] * 3
    assert waits == sorted(waits)
    assert messages() == [str(owed.pk)] * 3  # each with a delay
    assert try_until_it_ends(owed).status == Status.DELIVERED
    ids = {request.headers["webhook-id"] for request in receiver.received}
    assert ids == {str(owed.event_id)}


def test_what_the_receiver_said_is_in_the_log(owed, receiver):
    receiver.answers = [Answer(500, b"our database is away"), Answer(302, b"", {"Location": "http://127.0.0.1/"})]
    delivery.attempt(owed.pk)
    owed.refresh_from_db()
    assert (owed.answer_code, owed.note, owed.attempts) == (500, "our database is away", 1)
    make_due(owed)
    delivery.attempt(owed.pk)
    owed.refresh_from_db()
    assert (owed.answer_code, owed.note) == (302, "Redirects are not followed.")


def test_an_attempt_that_is_not_due_or_already_made_does_nothing(owed, receiver):
    delivery.attempt(owed.pk)
    delivery.attempt(owed.pk)
    WebhookDelivery.objects.update(status=Status.PENDING, next_try_at=timezone.now() + timedelta(hours=1))
    delivery.attempt(owed.pk)
    assert len(receiver.received) == 1


def test_an_attempt_whose_worker_died_is_made_again(owed, receiver):
    soon = timezone.now() + delivery.LEASE
    WebhookDelivery.objects.update(attempts=1, next_try_at=soon, message_at=timezone.now() - timedelta(hours=1))
    assert delivery.sweep() == 0
    WebhookDelivery.objects.update(next_try_at=soon - delivery.LEASE - timedelta(minutes=1))
    assert delivery.sweep() == 1


def test_attempts_that_nobody_survives_come_to_an_end(owed, receiver):
    WebhookDelivery.objects.update(attempts=len(delivery.BACKOFF) + 1)
    delivery.attempt(owed.pk)
    owed.refresh_from_db()
    assert (owed.status, receiver.received) == (Status.FAILED, [])


def test_after_a_day_it_is_given_up_and_may_be_sent_again_by_hand(owed, receiver, committed):
    assert timedelta(days=1) < sum(delivery.BACKOFF, timedelta()) < timedelta(days=2)
    receiver.answers = [Answer(500)]
    try_until_it_ends(owed)
    assert (owed.status, owed.attempts, owed.next_try_at) == (Status.FAILED, len(delivery.BACKOFF) + 1, None)
    receiver.answers = [Answer(204, b"")]
    with committed():
        again = endpoints.redeliver(delivery=owed)
    delivery.attempt(again.pk)
    again.refresh_from_db()
    assert again.status == Status.DELIVERED
    assert receiver.received[-1].headers["webhook-id"] == receiver.received[0].headers["webhook-id"]
    owed.refresh_from_db()
    assert owed.status == Status.FAILED  # the log keeps what was


def test_what_is_still_being_tried_is_not_sent_twice(owed):
    with pytest.raises(Refused, match="still being tried"):
        endpoints.redeliver(delivery=owed)


def give_up(endpoint: WebhookEndpoint, number: int) -> None:
    for _ in range(number):
        services.cancel(analysis=factories.make_analysis(endpoint.user))
        try_until_it_ends(endpoint.deliveries.latest("created_at"))


def test_a_webhook_that_answers_nothing_any_more_is_paused_with_a_note(webhook, receiver):
    receiver.answers = [Answer(500)]
    give_up(webhook, delivery.PAUSE_AFTER - 1)
    webhook.refresh_from_db()
    assert webhook.paused_at is None
    give_up(webhook, 1)
    webhook.refresh_from_db()
    assert (webhook.pause_reason, webhook.paused_at is None) == ("failing", False)
    with pytest.raises(Refused, match="paused"):
        endpoints.redeliver(delivery=webhook.deliveries.first())
    endpoints.resume(endpoint=webhook)
    assert (webhook.paused_at, webhook.pause_reason, webhook.given_up) == (None, "", 0)


def test_one_success_between_failures_counts_from_the_beginning(webhook, receiver):
    receiver.answers = [Answer(500)]
    give_up(webhook, delivery.PAUSE_AFTER - 1)
    receiver.answers = [Answer(200)]
    give_up(webhook, 1)
    receiver.answers = [Answer(500)]
    give_up(webhook, delivery.PAUSE_AFTER - 1)
    webhook.refresh_from_db()
    assert webhook.paused_at is None


def test_410_gone_pauses_at_once(owed, receiver, webhook):
    receiver.answers = [Answer(410)]
    delivery.attempt(owed.pk)
    owed.refresh_from_db()
    webhook.refresh_from_db()
    assert (owed.status, webhook.pause_reason) == (Status.FAILED, "gone")


def test_what_is_owed_to_a_paused_webhook_waits_until_it_goes_on(owed, webhook, receiver):
    endpoints.pause(endpoint=webhook)
    delivery.attempt(owed.pk)
    assert receiver.received == []
    endpoints.resume(endpoint=webhook)
    assert messages() == [str(owed.pk)]
    delivery.attempt(owed.pk)
    assert len(receiver.received) == 1


def test_an_address_that_has_become_private_gets_nothing(owed, receiver, settings):
    settings.WEBHOOK_NETWORKS = []
    delivery.attempt(owed.pk)
    owed.refresh_from_db()
    assert (owed.answer_code, receiver.received) == (None, [])
    assert "private network" in owed.note


def test_for_a_day_the_old_secret_signs_along(owed, webhook, receiver):
    old = webhook.secret
    new = endpoints.rotate(endpoint=webhook)
    delivery.attempt(owed.pk)
    (request,) = receiver.received
    for secret in (old, new):
        Webhook(secret).verify(request.body, request.headers)
    assert old != new
    assert webhook.secrets(timezone.now() + timedelta(days=2)) == [new]


def test_the_log_forgets_after_a_month(owed):
    WebhookEvent.objects.update(created_at=timezone.now() - timedelta(days=31))
    delivery.sweep()
    assert not WebhookDelivery.objects.exists()


def test_the_worker_finds_the_actor_and_the_actor_its_delivery(owed, receiver):
    from detection import tasks

    tasks.deliver(str(owed.pk))
    assert Analysis.objects.count() == 1
    assert len(receiver.received) == 1
