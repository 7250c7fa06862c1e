"""What the queue gives up: written down without a word of the error's own, and what administrators do about it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import dramatiq
import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.roles import Role, set_role
from detection import dead_letters, notices, services
from detection.models import Analysis, AuditEntry, DeadLetter
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
LETTERS = "/admin/detection/deadletter/"
SECRET = "private.person@example.org"


@pytest.fixture
def administrator_client(client: Client) -> Client:
    client.force_login(factories.make_user("admin@example.org", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def worked() -> Callable[[], None]:
    """Has a real worker do everything that waits for the users to be told."""
    broker = dramatiq.get_broker()
    worker = dramatiq.Worker(broker, queues={notices.tell_ended.queue_name}, worker_threads=1, worker_timeout=50)

    def work() -> None:
        worker.start()
        broker.join(notices.tell_ended.queue_name, fail_fast=False)
        worker.join()
        worker.stop()

    return work


@pytest.fixture
def hopeless(owner: User, monkeypatch: pytest.MonkeyPatch) -> Analysis:
    """An analysis whose user cannot be told: the mail server says no, and whom it is about."""
    owner.notify_analyses = True
    owner.save()
    factories.confirm_address(owner)

    def refuse(*args: object) -> None:
        raise ConnectionRefusedError(f"550 <{SECRET}> is unknown here")

    monkeypatch.setattr(notices.mails, "send", refuse)
    return factories.make_result(owner)


def letter_about(analysis: Analysis, **values: object) -> DeadLetter:
    about = {"actor": "analyse", "args": [str(analysis.pk)], "analysis": analysis, "tries": 3, "error": "WorkerLost"}
    return DeadLetter.objects.create(**{**about, "at": timezone.now(), **values})


def act(client: Client, action: str, *letters: DeadLetter) -> str:
    data = {"action": action, "_selected_action": [letter.pk for letter in letters]}
    return client.post(LETTERS, data, follow=True).content.decode()


def test_what_has_no_retries_left_is_written_down_without_what_the_error_says(hopeless: Analysis, worked):
    notices.tell_ended.send_with_options(args=(str(hopeless.pk),), max_retries=0)
    worked()
    letter = DeadLetter.objects.get()
    assert (letter.actor, letter.args, letter.analysis, letter.state) == (
        "tell_ended",
        [str(hopeless.pk)],
        hopeless,
        "waiting",
    )
    assert (letter.tries, letter.given_up, letter.error) == (1, 1, "ConnectionRefusedError")
    assert letter.place.startswith("tests/detection/test_dead_letters.py:")
    assert SECRET not in str(DeadLetter.objects.values())


def test_a_message_for_a_task_that_there_is_not(worked):
    broker = dramatiq.get_broker()
    broker.enqueue(dramatiq.Message(notices.tell_ended.queue_name, "forgotten", ("x",), {}, {}))
    worked()
    letter = DeadLetter.objects.get()
    assert (letter.actor, letter.analysis, letter.error) == ("forgotten", None, "ActorNotFound")


def test_what_is_given_up_again_is_one_row_while_it_waits(owner: User):
    about = {"actor": "deliver", "args": [str(uuid4())], "error": ValueError()}
    dead_letters.record(tries=4, **about)
    dead_letters.record(tries=2, **about)
    (letter,) = DeadLetter.objects.all()
    assert (letter.given_up, letter.tries) == (2, 2)
    dead_letters.conclude(letter, DeadLetter.State.DISMISSED)
    dead_letters.record(tries=1, **about)
    assert DeadLetter.objects.count() == 2
    assert dead_letters.waiting() == 1


def test_what_is_reported_again_and_again_while_the_queue_is_away_is_one_report(owner: User):
    for _ in range(3):
        dead_letters.record(actor="deliver", args=["x"], tries=4, error=ValueError(), message_id="one")
    letter = DeadLetter.objects.get()
    assert letter.given_up == 1
    dead_letters.conclude(letter, DeadLetter.State.DISMISSED)
    dead_letters.record(actor="deliver", args=["x"], tries=4, error=ValueError(), message_id="one")
    assert DeadLetter.objects.count() == 1, "what somebody has dealt with does not come back"


@pytest.mark.parametrize(("status", "letters"), [("queued", 0), ("running", 0), ("failed", 1)])
def test_a_worker_that_was_restarted_too_often_gives_up_no_work_that_still_waits(status: str, letters: int):
    analysis = factories.make_analysis(status=status)
    error = dramatiq.Retry("the worker stops")
    dead_letters.record(actor="analyse", args=[str(analysis.pk)], tries=4, error=error, message_id="one")
    assert DeadLetter.objects.count() == letters


def test_an_administrator_has_a_failed_analysis_tried_again(administrator_client: Client, owner: User, queued):
    analysis = factories.make_analysis(owner, status="failed", error_code="internal_error", attempts=4)
    letter = letter_about(analysis)
    assert str(analysis.pk) in administrator_client.get(LETTERS).content.decode()
    assert "Done for 1 message." in act(administrator_client, "send_again", letter)
    analysis.refresh_from_db()
    letter.refresh_from_db()
    assert (analysis.status, analysis.attempts, letter.state) == ("queued", 0, "sent")
    assert queued() == [str(analysis.pk)]
    entry = AuditEntry.objects.get(action="resend")
    assert (entry.object_type, entry.object_id) == ("analysis", str(analysis.pk))
    assert "Somebody has dealt with this already." in act(administrator_client, "dismiss", letter)
    assert not AuditEntry.objects.filter(action="dismiss").exists(), "nothing was done, so nothing is noted"


def test_a_message_about_something_else_is_sent_as_it_was(administrator_client: Client, hopeless: Analysis):
    letter = letter_about(hopeless, actor="tell_ended")
    act(administrator_client, "send_again", letter)
    (data,) = dramatiq.get_broker().queues[notices.tell_ended.queue_name].queue
    assert dramatiq.Message.decode(data).args == (str(hopeless.pk),)


def test_there_is_nothing_to_send_about_what_has_a_result(administrator_client: Client, owner: User, queued):
    letter = letter_about(factories.make_result(owner))
    assert "there is nothing to send" in act(administrator_client, "send_again", letter)
    letter.refresh_from_db()
    assert (letter.state, queued()) == ("waiting", [])
    assert "Done for 1 message." in act(administrator_client, "dismiss", letter)
    letter.refresh_from_db()
    assert letter.state == "dismissed"


def test_reviewers_and_users_do_not_see_them(client: Client, owner: User):
    reviewer = factories.make_user("reviewer@example.org")
    set_role(reviewer, Role.REVIEWER)
    for user, status in ((owner, 302), (reviewer, 403)):
        client.force_login(user)
        assert client.get(LETTERS).status_code == status


def test_they_go_with_their_analysis_and_with_time(owner: User):
    analysis = factories.make_analysis(owner, status="failed")
    letter_about(analysis)
    services.delete(analysis=analysis)
    assert not DeadLetter.objects.exists()
    letter_about(factories.make_analysis(owner), at=timezone.now() - dead_letters.KEPT)
    dead_letters.forget_old()
    assert not DeadLetter.objects.exists()


def test_the_page_of_figures_counts_them(administrator_client: Client, owner: User):
    letter_about(factories.make_analysis(owner, status="failed"))
    page = administrator_client.get("/admin/detection/queuedanalysis/statistics/").content.decode()
    assert f'<a href="{LETTERS}">Messages given up, waiting to be looked at</a>' in page
