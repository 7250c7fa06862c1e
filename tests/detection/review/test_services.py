"""Opinions become decisions: one reviewer, two who agree, a third where they do not."""

from __future__ import annotations

import json

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone, translation

from accounts.models import User
from detection import reports, runner, selectors, serving
from detection import services as uploads
from detection.models import Analysis, AuditEntry, Dispute, Review, ReviewCase, WebhookDelivery
from detection.problems import Refused
from detection.reports import words
from detection.review import audit, notices, queue, services
from detection.webhooks import endpoints
from tests import factories
from tests.detection.review.conftest import make_reviewer

pytestmark = pytest.mark.django_db


def fresh(analysis: Analysis) -> Analysis:
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


def case_of(analysis: Analysis) -> ReviewCase:
    return ReviewCase.objects.get(analysis=analysis, is_current=True)


def acts() -> list[tuple[str, str]]:
    """What the log says, oldest first."""
    return [(entry.role, entry.action) for entry in AuditEntry.objects.order_by("pk")]


def opinion(analysis: Analysis, reviewer: User, verdict: str, **more: str) -> ReviewCase:
    return services.give_opinion(analysis=analysis, reviewer=reviewer, verdict=verdict, **more)


# -- One reviewer -----------------------------------------------------------------------------------------------------


def test_one_reviewer_decides(analysis: Analysis, reviewer: User):
    opinion(analysis, reviewer, "authentic", note="A beauty filter.")
    row = fresh(analysis)
    assert (row.verdict, row.reviewed_verdict, row.final_verdict) == ("manipulated", "authentic", "authentic")
    assert row.review_unseen
    case = case_of(analysis)
    assert (case.verdict, case.model_verdict, case.model_version) == ("authentic", "manipulated", "1")
    assert acts() == [("reviewer", "review"), ("reviewer", "decide")]
    decided = AuditEntry.objects.get(action="decide")
    assert (decided.actor, decided.object_id) == (reviewer, str(analysis.pk))
    assert (decided.before, decided.after["verdict"]) == ({"verdict": ""}, "authentic")


def test_nobody_reviews_ones_own(reviewer: User):
    own = factories.make_result(reviewer)
    with pytest.raises(Refused) as refused:
        opinion(own, reviewer, "authentic")
    assert refused.value.code == "permission_denied"
    assert not AuditEntry.objects.exists()


def test_a_stranger_reviews_nothing(analysis: Analysis, stranger: User):
    with pytest.raises(Refused, match="own"):
        opinion(analysis, stranger, "authentic")


def test_who_comes_second_is_told(analysis: Analysis, reviewer: User, colleague: User):
    opinion(analysis, reviewer, "authentic")
    with pytest.raises(Refused, match="just decided") as refused:
        opinion(analysis, colleague, "manipulated")
    assert refused.value.code == "conflict"
    assert (fresh(analysis).reviewed_verdict, Review.objects.count()) == ("authentic", 1)


def test_a_result_that_was_replaced_is_not_judged(analysis: Analysis, reviewer: User):
    with pytest.raises(Refused, match="analysed anew"):
        opinion(analysis, reviewer, "authentic", run="2020-01-01T00:00:00+00:00")
    Analysis.objects.filter(pk=analysis.pk).update(status="running")
    with pytest.raises(Refused, match="analysed anew"):
        opinion(analysis, reviewer, "authentic")


def test_one_that_was_deleted_is_not_judged(analysis: Analysis, reviewer: User):
    uploads.delete(analysis=Analysis.objects.get(pk=analysis.pk))
    with pytest.raises(Refused, match="deleted"):
        opinion(analysis, reviewer, "authentic")


# -- Two, and a third -------------------------------------------------------------------------------------------------


@pytest.fixture
def two(settings) -> None:
    settings.REVIEWERS = 2


@pytest.mark.usefixtures("two")
def test_two_who_agree_decide(analysis: Analysis, reviewer: User, colleague: User):
    opinion(analysis, reviewer, "authentic")
    assert fresh(analysis).final_verdict == "manipulated"
    with pytest.raises(Refused, match="judged this case before"):
        opinion(analysis, reviewer, "authentic")
    opinion(analysis, colleague, "authentic")
    assert fresh(analysis).final_verdict == "authentic"


@pytest.mark.usefixtures("two")
def test_a_third_settles_a_conflict(analysis: Analysis, reviewer: User, colleague: User, third: User):
    opinion(analysis, reviewer, "authentic")
    opinion(analysis, colleague, "manipulated")
    assert not case_of(analysis).is_decided
    opinion(analysis, third, "manipulated")
    assert fresh(analysis).reviewed_verdict == "manipulated"


@pytest.mark.usefixtures("two")
def test_three_different_opinions_mean_that_nobody_can_tell(
    analysis: Analysis, reviewer: User, colleague: User, third: User
):
    for person, verdict in ((reviewer, "authentic"), (colleague, "manipulated"), (third, "inconclusive")):
        opinion(analysis, person, verdict)
    assert fresh(analysis).reviewed_verdict == "inconclusive"


# -- Disputes ---------------------------------------------------------------------------------------------------------


def test_a_dispute_needs_two(analysis: Analysis, reviewer: User, colleague: User):
    services.dispute(analysis=analysis, category="genuine", reason=" It is my brother. ")
    assert fresh(analysis).upload.media_held_until is not None
    opinion(analysis, reviewer, "authentic", answer="We agree: a filter.")
    assert not case_of(analysis).is_decided
    assert Dispute.objects.get().is_open
    opinion(analysis, colleague, "authentic")
    dispute = Dispute.objects.get()
    assert (dispute.status, dispute.answer, dispute.reason) == ("answered", "We agree: a filter.", "It is my brother.")
    assert fresh(analysis).upload.media_held_until is None
    assert "brother" not in json.dumps(list(AuditEntry.objects.values("before", "after")))
    assert acts()[0] == ("user", "dispute")
    assert AuditEntry.objects.get(action="dispute").actor is None


def test_a_dispute_opens_a_decided_case_again(analysis: Analysis, reviewer: User, colleague: User, third: User):
    """Two others have to agree; until they have, what was decided stays the verdict."""
    opinion(analysis, reviewer, "manipulated")
    services.dispute(analysis=analysis, category="genuine")
    assert not case_of(analysis).is_decided
    assert fresh(analysis).reviewed_verdict == "manipulated"
    opinion(analysis, colleague, "authentic")
    assert fresh(analysis).reviewed_verdict == "manipulated"
    opinion(analysis, third, "authentic")
    assert fresh(analysis).reviewed_verdict == "authentic"


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("new", ["authentic", "manipulated"])
def test_a_dispute_of_what_two_had_decided_is_decided_by_two_others(
    analysis: Analysis, reviewer: User, colleague: User, third: User, new: str
):
    opinion(analysis, reviewer, "manipulated")
    opinion(analysis, colleague, "manipulated")
    services.dispute(analysis=analysis, category="genuine")
    with pytest.raises(Refused, match="judged this case before"):
        opinion(analysis, reviewer, "authentic")
    assert opinions_in_the_queue(analysis) == 0
    opinion(analysis, third, new)
    assert not case_of(analysis).is_decided, "what was disputed must not count"
    assert opinions_in_the_queue(analysis) == 1
    assert len(queue.standing(analysis).reviews) == 3
    opinion(analysis, make_reviewer(), new)
    assert (fresh(analysis).reviewed_verdict, case_of(analysis).is_decided) == (new, True)
    assert AuditEntry.objects.filter(action="decide").first().after["opinions"] == 2


def opinions_in_the_queue(analysis: Analysis) -> int:
    counted = queue.queue().get(pk=analysis.pk).opinions or 0
    assert counted == len(queue.standing(analysis).counting)
    return counted


@pytest.mark.parametrize("reviewers", [1, 2])
def test_one_opinion_from_before_a_dispute_does_not_count(
    analysis: Analysis, reviewer: User, colleague: User, third: User, settings, reviewers: int
):
    settings.REVIEWERS = reviewers
    opinion(analysis, reviewer, "manipulated")
    services.dispute(analysis=analysis, category="genuine")
    opinion(analysis, colleague, "manipulated")
    assert not case_of(analysis).is_decided
    assert not queue.standing(analysis).conflict
    opinion(analysis, third, "authentic")
    assert queue.standing(analysis).conflict
    assert not case_of(analysis).is_decided
    opinion(analysis, make_reviewer(), "authentic")
    assert fresh(analysis).reviewed_verdict == "authentic"


def test_nor_does_the_one_that_decided_between_two_disputes(analysis: Analysis, reviewer: User, colleague: User):
    services.dispute(analysis=analysis, category="genuine")
    opinion(analysis, reviewer, "manipulated")
    services.withdraw(analysis=analysis)
    assert fresh(analysis).reviewed_verdict == "manipulated"
    services.dispute(analysis=analysis, category="genuine")
    opinion(analysis, colleague, "manipulated")
    assert not case_of(analysis).is_decided


def test_a_result_is_disputed_once(analysis: Analysis, reviewer: User, colleague: User):
    services.dispute(analysis=analysis, category="genuine")
    with pytest.raises(Refused, match="said so before"):
        services.dispute(analysis=analysis, category="other")
    opinion(analysis, reviewer, "manipulated")
    opinion(analysis, colleague, "manipulated")
    with pytest.raises(Refused, match="said so before"):
        services.dispute(analysis=analysis, category="other")


def test_nothing_is_disputed_before_there_is_a_result(owner: User):
    with pytest.raises(Refused, match="no result"):
        services.dispute(analysis=factories.make_analysis(owner), category="genuine")


def test_a_withdrawn_dispute_leaves_one_opinion_enough(analysis: Analysis, reviewer: User):
    services.dispute(analysis=analysis, category="genuine")
    opinion(analysis, reviewer, "authentic")
    services.withdraw(analysis=analysis)
    assert fresh(analysis).reviewed_verdict == "authentic"
    assert fresh(analysis).upload.media_held_until is None
    with pytest.raises(Refused, match="no open dispute"):
        services.withdraw(analysis=analysis)


def test_a_withdrawn_dispute_restores_the_decision(analysis: Analysis, reviewer: User):
    opinion(analysis, reviewer, "authentic")
    decided = fresh(analysis).reviewed_at
    services.dispute(analysis=analysis, category="manipulated")
    services.withdraw(analysis=analysis)
    assert (case_of(analysis).decided_at, fresh(analysis).reviewed_at) == (decided, decided)
    services.dispute(analysis=analysis, category="other")  # one may change one's mind
    assert Dispute.objects.get().is_open


# -- A new run --------------------------------------------------------------------------------------------------------


def test_a_new_run_begins_without_a_verdict_of_people(analysis: Analysis, reviewer: User, colleague: User):
    opinion(analysis, reviewer, "authentic")
    uploads.retry(analysis=Analysis.objects.get(pk=analysis.pk))
    assert (fresh(analysis).reviewed_verdict, fresh(analysis).reviewed_at) == ("", None)
    old = ReviewCase.objects.get(analysis=analysis)
    assert (old.is_current, old.verdict, old.model_verdict) == (False, "authentic", "manipulated")
    superseded = AuditEntry.objects.get(action="supersede")
    assert (superseded.role, superseded.before) == ("user", {"verdict": "authentic", "opinions": 1})
    ended(analysis, verdict="authentic")
    opinion(analysis, reviewer, "authentic")  # it is another result: the same reviewer may judge it
    assert ReviewCase.objects.filter(analysis=analysis).count() == 2


@pytest.fixture
def by_todays_model(analysis: Analysis) -> Analysis:
    Analysis.objects.filter(pk=analysis.pk).update(**serving.columns(serving.served()))
    return fresh(analysis)


def test_the_owner_does_not_get_rid_of_a_verdict_by_asking_the_same_model_again(
    by_todays_model: Analysis, reviewer: User, owner: User
):
    opinion(by_todays_model, reviewer, "authentic")
    decided = fresh(by_todays_model).reviewed_at
    for _again in range(2):  # also not by giving up half-way
        uploads.retry(analysis=fresh(by_todays_model))
        row = fresh(by_todays_model)
        assert (row.status, row.verdict, row.final_verdict) == ("queued", "", "")
        assert reports.analysis_payload(row)["review"] is None
        assert words.statement(row) == ""
        assert selectors.counts_of(owner).by_verdict == {}
        assert not selectors.history(owner, selectors.Wanted(verdict="authentic"))
        notices.tell_reviewed(str(row.pk))
        uploads.cancel(analysis=row)
        assert reports.analysis_payload(fresh(row))["review"] is None
    uploads.retry(analysis=fresh(by_todays_model))
    ended(by_todays_model, verdict="manipulated")
    row = fresh(by_todays_model)
    assert (row.reviewed_verdict, row.reviewed_at, row.final_verdict) == ("authentic", decided, "authentic")
    assert reports.analysis_payload(row)["review"]["decision"] == "overturned"
    assert case_of(row).is_decided
    assert ("user", "supersede") not in acts()


def test_what_staff_run_again_is_judged_anew(by_todays_model: Analysis, reviewer: User, colleague: User):
    opinion(by_todays_model, reviewer, "authentic")
    uploads.retry(analysis=by_todays_model, by=colleague)
    assert fresh(by_todays_model).reviewed_verdict == ""
    assert AuditEntry.objects.get(action="supersede").actor == colleague


def test_but_not_what_is_the_reviewers_own(reviewer: User, colleague: User):
    own = factories.make_result(colleague)
    Analysis.objects.filter(pk=own.pk).update(**serving.columns(serving.served()))
    opinion(own, reviewer, "manipulated")
    uploads.retry(analysis=own, by=colleague)
    assert fresh(own).reviewed_verdict == "manipulated"


def ended(analysis: Analysis, verdict: str) -> None:
    values = {"status": "succeeded", "verdict": verdict, "model_version": "2", "finished_at": timezone.now()}
    Analysis.objects.filter(pk=analysis.pk).update(**values)


def test_an_open_dispute_survives_a_new_run(analysis: Analysis, reviewer: User, colleague: User):
    services.dispute(analysis=analysis, category="genuine")
    uploads.retry(analysis=Analysis.objects.get(pk=analysis.pk))
    assert case_of(analysis).open_dispute is not None
    ended(analysis, verdict="suspicious")
    opinion(analysis, reviewer, "authentic")
    assert fresh(analysis).reviewed_verdict == ""
    opinion(analysis, colleague, "authentic")
    assert fresh(analysis).reviewed_verdict == "authentic"
    case = case_of(analysis)
    assert (case.model_verdict, case.model_version) == ("suspicious", "2")


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_dispute_ends_with_a_run_that_brings_no_result(
    analysis: Analysis, reviewer: User, owner: User, ending: str, client: Client
):
    """Otherwise it would wait for reviewers who never see it, and hold the file."""
    User.objects.filter(pk=owner.pk).update(language="de")
    services.dispute(analysis=analysis, category="genuine")
    opinion(analysis, reviewer, "authentic", answer="A draft.")
    uploads.retry(analysis=Analysis.objects.get(pk=analysis.pk))
    if ending == "cancelled":
        uploads.cancel(analysis=fresh(analysis))
    else:
        runner.run(analysis.pk, engine=out_of_memory)
    assert fresh(analysis).status == ending
    dispute = Dispute.objects.get()
    assert (dispute.status, dispute.closed_at is not None) == ("withdrawn", True)
    assert fresh(analysis).upload.media_held_until is None
    assert acts()[-1] == ("system", "withdraw")
    assert dispute.answer.startswith("Die Datei wurde neu untersucht, und das endete ohne Ergebnis.")
    client.force_login(owner)
    with translation.override("en"):  # takes back what the requests change
        told = client.get(f"/api/v1/analyses/{analysis.pk}/").json()["dispute"]
        page = client.get(f"/analyses/{analysis.pk}/").content.decode()
    assert (told["status"], told["answer"]) == ("withdrawn", dispute.answer)
    assert dispute.answer in page

    uploads.retry(analysis=fresh(analysis))
    ended(analysis, verdict="authentic")
    services.dispute(analysis=analysis, category="manipulated")  # of the next result one may say so again
    assert case_of(analysis).open_dispute is not None


def out_of_memory() -> None:
    raise MemoryError


def test_a_draft_is_not_told_when_a_dispute_is_taken_back(analysis: Analysis, reviewer: User):
    services.dispute(analysis=analysis, category="genuine")
    opinion(analysis, reviewer, "authentic", answer="A draft.")
    services.withdraw(analysis=analysis)
    assert Dispute.objects.get().answer == ""


# -- Telling the user -------------------------------------------------------------------------------------------------


def test_the_user_is_told(analysis: Analysis, reviewer: User, owner: User, django_capture_on_commit_callbacks):
    hook = endpoints.create(user=owner, url="https://example.org/hook", events=["analysis.reviewed"])
    Analysis.objects.filter(pk=analysis.pk).update(callback_url="https://example.org/once")
    with django_capture_on_commit_callbacks(execute=True):
        opinion(analysis, reviewer, "authentic")
    delivery = WebhookDelivery.objects.get()
    assert delivery.endpoint == hook
    body = json.loads(delivery.event.body)
    assert body["type"] == "analysis.reviewed"
    assert body["data"]["result"]["verdict"] == "authentic"
    assert body["data"]["result"]["model_verdict"] == "manipulated"
    review = body["data"]["review"]
    assert (review["verdict"], review["decision"], review["role"]) == ("authentic", "overturned", "reviewer")
    assert reviewer.email not in delivery.event.body

    notices.tell_reviewed(str(analysis.pk))
    assert mail.outbox == [], "not to an address that may be somebody else's"
    factories.confirm_address(owner)
    notices.tell_reviewed(str(analysis.pk))
    (message,) = mail.outbox
    assert message.to == [owner.email]
    assert "face.jpg" in message.subject
    assert "Genuine" in message.body
    assert reviewer.email not in message.body


def test_no_mail_for_those_who_want_none(analysis: Analysis, reviewer: User, owner: User):
    opinion(analysis, reviewer, "authentic")
    factories.confirm_address(owner)
    User.objects.filter(pk=owner.pk).update(notify_reviews=False)
    notices.tell_reviewed(str(analysis.pk))
    notices.tell_reviewed("00000000-0000-4000-8000-000000000000")
    assert mail.outbox == []


def test_a_german_is_written_to_in_german(analysis: Analysis, reviewer: User, owner: User):
    opinion(analysis, reviewer, "authentic")
    factories.confirm_address(owner)
    User.objects.filter(pk=owner.pk).update(language="de")
    notices.tell_reviewed(str(analysis.pk))
    assert "Echt" in mail.outbox[0].body


# -- Assignment and consent -------------------------------------------------------------------------------------------


def test_assigning(analysis: Analysis, reviewer: User, colleague: User, stranger: User):
    own = factories.make_result(colleague)
    assert services.assign(analyses=[analysis, own], reviewer=colleague, by=reviewer) == 1
    assert case_of(analysis).assigned_to == colleague
    with pytest.raises(Refused, match="may not review"):
        services.assign(analyses=[analysis], reviewer=stranger, by=reviewer)
    opinion(analysis, colleague, "authentic")
    assert services.assign(analyses=[analysis], reviewer=None, by=reviewer) == 0
    assert acts()[0] == ("reviewer", "assign")


def test_consent_is_given_and_taken_back(analysis: Analysis):
    assert fresh(analysis).upload.consented_at is None
    services.set_consent(analysis=analysis, given=True)
    services.set_consent(analysis=analysis, given=True)
    assert fresh(analysis).upload.consented_at is not None
    services.set_consent(analysis=analysis, given=False)
    assert fresh(analysis).upload.consented_at is None
    assert acts() == [("user", "consent"), ("user", "consent")]


# -- The log ----------------------------------------------------------------------------------------------------------


def test_a_reading_that_could_not_be_noted_does_not_excuse_the_next(
    analysis: Analysis, reviewer: User, monkeypatch: pytest.MonkeyPatch
):
    def full(*_args: object, **_options: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(AuditEntry, "save", full)
        with pytest.raises(OSError, match="full"):
            audit.note_reading(reader=reviewer, analysis=analysis)
    audit.note_reading(reader=reviewer, analysis=analysis)
    assert acts() == [("reviewer", "read")]
