"""The queue, the page on which reviewers judge, bulk actions, figures, and the log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import User
from detection import open_access
from detection.models import Analysis, AuditEntry, ReviewCase, Upload
from detection.review import audit, queue, services
from tests import factories

pytestmark = pytest.mark.django_db
QUEUE = "/admin/detection/queuedanalysis/"


def page_of(analysis: Analysis) -> str:
    return f"{QUEUE}{analysis.pk}/change/"


def made(owner: User, verdict: str, *, hours: int = 0, **values: object) -> Analysis:
    """A result that is so many hours old."""
    analysis = factories.make_result(owner, tracks=1, frames=1)
    created = timezone.now() - timedelta(hours=hours)
    Analysis.objects.filter(pk=analysis.pk).update(verdict=verdict, created_at=created, **values)
    Upload.objects.filter(pk=analysis.upload_id).update(name=f"{verdict}-{hours}.jpg")
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


def listed(client: Client, **query: str) -> list[str]:
    answer = client.get(QUEUE, query)
    assert answer.status_code == 200
    return [row.upload.name for row in answer.context["cl"].result_list]


def act(client: Client, action: str, *analyses: Analysis, **more: str) -> str:
    data = {"action": action, "_selected_action": [str(a.pk) for a in analyses], **more}
    return client.post(f"{QUEUE}?state=all", data, follow=True).content.decode()


# -- The queue --------------------------------------------------------------------------------------------------------


def test_what_people_are_needed_for_comes_first(reviewer_client: Client, owner: User):
    made(owner, "authentic", hours=9)
    made(owner, "manipulated", hours=5)
    made(owner, "inconclusive", hours=8)
    made(owner, "suspicious", hours=1)
    made(owner, "suspicious", hours=2)
    disputed = made(owner, "authentic", hours=0)
    services.dispute(analysis=disputed, category="manipulated")
    factories.make_analysis(owner)  # no result, nothing to review
    factories.make_result(open_access.open_user())  # nobody could be told
    assert listed(reviewer_client) == [
        "authentic-0.jpg",
        "suspicious-2.jpg",
        "suspicious-1.jpg",
        "inconclusive-8.jpg",
        "authentic-9.jpg",
        "manipulated-5.jpg",
    ]


def test_each_case_says_for_how_long_it_waits(reviewer_client: Client, owner: User):
    made(owner, "suspicious", hours=5)
    assert ">5\xa0hours ago</span>" in reviewer_client.get(QUEUE).content.decode()


def test_filters(reviewer_client: Client, reviewer: User, owner: User):
    low, high = made(owner, "authentic", hours=1, score=0.1), made(owner, "manipulated", hours=2, score=1.0)
    made(owner, "inconclusive", hours=3, score=None, model_version="2")
    services.assign(analyses=[low], reviewer=reviewer, by=reviewer)
    services.give_opinion(analysis=high, reviewer=reviewer, verdict="manipulated")
    assert listed(reviewer_client, state="decided") == ["manipulated-2.jpg"]
    assert listed(reviewer_client, state="mine") == ["authentic-1.jpg"]
    assert listed(reviewer_client, state="all", band="0.8") == ["manipulated-2.jpg"]
    assert listed(reviewer_client, state="all", band="0.0") == ["authentic-1.jpg"]
    assert listed(reviewer_client, band="none") == ["inconclusive-3.jpg"]
    assert listed(reviewer_client, verdict="authentic") == ["authentic-1.jpg"]
    assert listed(reviewer_client, model_version="2") == ["inconclusive-3.jpg"]
    services.dispute(analysis=low, category="other")
    assert listed(reviewer_client, disputed="yes") == ["authentic-1.jpg"]
    assert len(listed(reviewer_client, disputed="no", state="all")) == 2


def test_a_long_queue_takes_few_queries(reviewer_client: Client, owner: User, django_assert_max_num_queries):
    for hours in range(12):
        made(owner, "suspicious", hours=hours)
    with django_assert_max_num_queries(18):
        assert len(listed(reviewer_client)) == 12


def test_only_reviewers_come_in(client: Client, owner: User, analysis: Analysis):
    paths = [QUEUE, page_of(analysis), f"{QUEUE}statistics/", f"{QUEUE}next/"]
    client.force_login(owner)
    assert {client.get(path).status_code for path in paths} <= {302, 403}
    User.objects.filter(pk=owner.pk).update(is_staff=True)  # staff for something else
    assert {client.get(path).status_code for path in paths} == {403}
    assert not AuditEntry.objects.exists()


def test_administrators_may_review_too(client: Client, analysis: Analysis):
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    assert client.get(page_of(analysis)).status_code == 200
    client.post(page_of(analysis), {"verdict": "authentic"})
    assert set(AuditEntry.objects.values_list("role", flat=True)) == {"administrator"}


# -- Judging ----------------------------------------------------------------------------------------------------------


def test_a_reviewer_judges_and_gets_the_next_case(reviewer_client: Client, owner: User):
    first, second = made(owner, "suspicious", hours=2), made(owner, "suspicious", hours=1)
    assert reviewer_client.get(f"{QUEUE}next/")["Location"] == page_of(first)
    page = reviewer_client.get(page_of(first))
    assert 'data-verdict="suspicious"' in page.content.decode()
    run = page.context["form"].initial["run"]
    answer = reviewer_client.post(page_of(first), {"verdict": "authentic", "note": "A filter.", "run": run})
    assert answer["Location"] == page_of(second)
    assert Analysis.objects.get(pk=first.pk).reviewed_verdict == "authentic"
    answer = reviewer_client.post(page_of(second), {"verdict": "manipulated"})
    assert answer["Location"] == QUEUE
    assert "This case is decided." in reviewer_client.get(page_of(first)).content.decode()
    assert "A filter." in reviewer_client.get(page_of(first)).content.decode()


def test_nothing_chosen_stores_nothing(reviewer_client: Client, analysis: Analysis):
    assert reviewer_client.post(page_of(analysis), {"note": "?"}).status_code == 400
    assert reviewer_client.post(page_of(analysis), {"verdict": "suspicious"}).status_code == 400
    assert not ReviewCase.objects.exists()


def test_who_is_late_is_told(reviewer_client: Client, analysis: Analysis, colleague: User):
    services.give_opinion(analysis=analysis, reviewer=colleague, verdict="authentic")
    page = reviewer_client.post(page_of(analysis), {"verdict": "manipulated"}, follow=True).content.decode()
    assert "Another reviewer has just decided this case." in page


def test_keys_say_what_a_verdict_is_to_the_models(reviewer_client: Client, owner: User):
    def keys(verdict: str) -> dict[str, str]:
        answer = reviewer_client.get(page_of(made(owner, verdict)))
        return {choice["verdict"]: choice["key"] for choice in answer.context["choices"]}

    assert keys("manipulated") == {"manipulated": "c", "authentic": "o", "inconclusive": "t"}
    assert keys("suspicious") == {"manipulated": "c", "authentic": "o", "inconclusive": "t"}
    assert keys("authentic") == {"manipulated": "o", "authentic": "c", "inconclusive": "t"}
    assert keys("inconclusive") == {"manipulated": "m", "authentic": "g", "inconclusive": "t"}


def test_opening_the_page_is_noted(reviewer_client: Client, reviewer: User, analysis: Analysis):
    for _ in range(2):
        reviewer_client.get(page_of(analysis))
    assert [(entry.action, entry.actor) for entry in AuditEntry.objects.all()] == [("read", reviewer)]


def test_ones_own_and_what_others_were_given_is_not_next(reviewer_client: Client, reviewer, colleague, owner: User):
    made(reviewer, "suspicious", hours=9)
    given = made(owner, "suspicious", hours=8)
    services.assign(analyses=[given], reviewer=colleague, by=reviewer)
    last = made(owner, "authentic", hours=1)
    assert reviewer_client.get(f"{QUEUE}next/")["Location"] == page_of(last)
    own = Analysis.objects.get(upload__user=reviewer)
    assert "This file is yours" in reviewer_client.get(page_of(own)).content.decode()


# -- Bulk actions -----------------------------------------------------------------------------------------------------


def test_giving_cases_to_a_reviewer(reviewer_client: Client, reviewer: User, colleague: User, owner: User):
    one, two = made(owner, "suspicious", hours=1), made(owner, "suspicious", hours=2)
    assert "2 cases were given." in act(reviewer_client, "give_to", one, two, reviewer=str(colleague.pk))
    assert set(ReviewCase.objects.values_list("assigned_to", flat=True)) == {colleague.pk}
    act(reviewer_client, "give_to", one, reviewer=str(owner.pk))  # is offered to nobody, and not taken
    act(reviewer_client, "give_to", one, reviewer="987654")
    # The form takes this for a number; it is nobody's.
    assert "There is no such reviewer." in act(reviewer_client, "give_to", one, reviewer=f" {colleague.pk}")
    assert ReviewCase.objects.get(analysis=one).assigned_to == colleague
    assert "1 case was given." in act(reviewer_client, "give_to", one)
    assert ReviewCase.objects.get(analysis=one).assigned_to is None


def test_running_again_costs_the_user_nothing(reviewer_client: Client, owner: User, analysis: Analysis, settings):
    settings.DAILY_QUOTA = 1
    services.give_opinion(analysis=analysis, reviewer=make_other(), verdict="authentic")
    assert "Done for 1 case." in act(reviewer_client, "rerun", analysis)
    row = Analysis.objects.get(pk=analysis.pk)
    assert (row.status, row.reviewed_verdict) == ("queued", "")
    rerun, superseded = (AuditEntry.objects.get(action=action) for action in ("rerun", "supersede"))
    assert (rerun.before, rerun.actor) == ({"model": "1"}, superseded.actor)
    assert superseded.role == "reviewer"


def test_what_cannot_be_noted_is_not_done(reviewer_client: Client, analysis: Analysis, monkeypatch):
    def full(*_args: object, **_options: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(AuditEntry, "save", full)
    reviewer_client.raise_request_exception = False
    data = {"_selected_action": [str(analysis.pk)]}
    for action in ("rerun", "end_media"):
        assert reviewer_client.post(f"{QUEUE}?state=all", {"action": action, **data}).status_code == 500
    row = Analysis.objects.select_related("upload").get(pk=analysis.pk)
    assert (row.status, row.upload.media_deleted_at) == ("succeeded", None)


def test_the_page_says_whose_opinion_counts(reviewer_client: Client, analysis: Analysis, reviewer, colleague, owner):
    services.give_opinion(analysis=analysis, reviewer=reviewer, verdict="manipulated")
    services.dispute(analysis=analysis, category="genuine")
    page = reviewer_client.get(page_of(analysis)).content.decode()
    assert "from before the dispute: does not count" in page
    assert "You judged this case before its user disputed it." in page
    assert "disputed, 0 of 2 opinions" in reviewer_client.get(QUEUE).content.decode()
    reviewer_client.force_login(colleague)
    page = reviewer_client.get(page_of(analysis)).content.decode()
    assert "Two reviewers who have not judged this case before have to agree on it." in page


def make_other() -> User:
    from tests.detection.review.conftest import make_reviewer

    return make_reviewer()


def test_extending_and_ending_retention(reviewer_client: Client, analysis: Analysis, settings):
    settings.HOLD_DAYS = 10
    assert "Keep the file for 7 more days" in reviewer_client.get(QUEUE, {"state": "all"}).content.decode()
    first = act(reviewer_client, "extend", analysis)
    assert ("Done for 1 case." in first, "kept for less than that" in first) == (True, False)
    upload = Upload.objects.get(pk=analysis.upload_id)
    assert upload.media_expires_at is not None
    assert upload.media_expires_at > timezone.now() + timedelta(days=6)
    second = act(reviewer_client, "extend", analysis)
    assert "Done for 1 case." in second
    assert "1 file is kept for less than that: no file is kept for more than 10 days from now." in second
    assert "A file can be kept for 10 days from now at most." in act(reviewer_client, "extend", analysis)
    settings.HOLD_DAYS = 1
    assert "Keep the file for 1 more day<" in reviewer_client.get(QUEUE, {"state": "all"}).content.decode()
    assert "Done for 1 case." in act(reviewer_client, "end_media", analysis)
    assert Upload.objects.get(pk=analysis.upload_id).media_deleted_at is not None
    assert "was deleted" in act(reviewer_client, "extend", analysis)
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == ["extend", "extend", "end"]


# -- Figures ----------------------------------------------------------------------------------------------------------


def test_figures(reviewer_client: Client, reviewer: User, owner: User):
    for verdict, human in (("manipulated", "authentic"), ("manipulated", "manipulated"), ("authentic", "authentic")):
        services.give_opinion(analysis=made(owner, verdict), reviewer=reviewer, verdict=human)
    services.dispute(analysis=made(owner, "suspicious", hours=5), category="other")
    made(owner, "inconclusive", hours=3)
    answer = reviewer_client.get(f"{QUEUE}statistics/")
    waiting = answer.context["waiting"]
    assert {name: waiting[name] for name in ("disputed", "suspicious", "inconclusive", "other")} == {
        "disputed": 1, "suspicious": 0, "inconclusive": 1, "other": 0
    }  # fmt: skip
    assert 4.9 < waiting["oldest_hours"] < 5.1
    ((row, shares),) = answer.context["agreement"]
    assert (row.version, row.cases, row.confirmed, row.overturned) == ("1", 3, 2, 1)
    assert [value for _name, value, _interval in shares] == ["67 % (2/3)", "50 % (1/2)", "50 % (1/2)"]
    assert answer.context["volumes"][0].decided == 3
    assert answer.context["work"]["workers"] == 1


def test_a_new_run_waits_since_it_was_sent(reviewer_client: Client, owner: User):
    now = timezone.now()
    anew = factories.make_analysis(owner, revision=7, sent_at=now - timedelta(minutes=5))
    Analysis.objects.filter(pk=anew.pk).update(created_at=now - timedelta(days=365))
    assert 5 <= reviewer_client.get(f"{QUEUE}statistics/").context["work"]["oldest_minutes"] < 6


# -- The log ----------------------------------------------------------------------------------------------------------


def test_the_log_can_be_read_but_not_changed(client: Client, analysis: Analysis, reviewer: User):
    services.give_opinion(analysis=analysis, reviewer=reviewer, verdict="authentic")
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    log = "/admin/detection/auditentry/"
    assert reviewer.email in client.get(log).content.decode()
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert client.get(f"{log}{entry.pk}/change/").status_code == 200
    assert client.post(f"{log}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(role=""),
    ):
        with pytest.raises(TypeError, match="append-only"):
            change()


@pytest.mark.parametrize(
    "statement", ["UPDATE detection_auditentry SET role = 'x'", "DELETE FROM detection_auditentry"]
)
def test_the_database_refuses_to_change_the_log(analysis: Analysis, statement: str):
    audit.record(audit.Action.EXPORT, analysis)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.get().role == "system"


def test_an_account_that_is_gone_leaves_a_number(client: Client, analysis: Analysis, reviewer: User):
    services.give_opinion(analysis=analysis, reviewer=reviewer, verdict="authentic")
    number = reviewer.pk
    reviewer.delete()
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    page = client.get("/admin/detection/auditentry/").content.decode()
    assert f"account {number}, deleted" in page
    assert queue.standing(analysis).reviews[0].reviewer is None


def test_what_administrators_do_is_noted_and_reviewers_may_only_look(
    client: Client, reviewer_client: Client, reviewer: User, owner: User, analysis: Analysis
):
    reviewer.user_permissions.add(Permission.objects.get(codename="view_analysis"))
    waiting = factories.make_analysis(owner)
    path = "/admin/detection/analysis/"
    page = reviewer_client.get(path)
    assert page.status_code == 200
    assert "Cancel selected analyses" not in page.content.decode()
    data = {"action": "cancel", "_selected_action": [str(waiting.pk)]}
    reviewer_client.post(path, data)
    assert Analysis.objects.get(pk=waiting.pk).status == "queued"

    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    client.post(path, data)
    client.post(path, {"action": "delete_selected", "post": "yes", "_selected_action": [str(analysis.pk)]})
    assert not Analysis.objects.filter(pk=analysis.pk).exists()
    noted = AuditEntry.objects.order_by("pk").values_list("role", "action", "object_id")
    assert list(noted) == [
        ("administrator", "cancel", str(waiting.pk)),
        ("administrator", "delete", str(analysis.pk)),
    ]


def test_what_was_sent_without_an_account_is_nobodys_case(reviewer_client: Client):
    assert reviewer_client.get(page_of(factories.make_result(open_access.open_user()))).status_code == 404
    assert reviewer_client.get(f"{QUEUE}nonsense/change/").status_code == 404
