"""What the owner sees of a review, and says: page, history, report, API."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from django.test import Client
from pypdf import PdfReader

from accounts.models import User
from detection.models import Analysis, AuditEntry, Dispute
from detection.review import services
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def reviewed(analysis: Analysis, reviewer: User) -> Analysis:
    services.give_opinion(analysis=analysis, reviewer=reviewer, verdict="authentic", note="seen by me alone")
    return analysis


def words_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


def test_the_reviewers_word_comes_first_and_the_models_beside_it(
    owner_client: Client, reviewed: Analysis, reviewer: User
):
    page = owner_client.get(f"/analyses/{reviewed.pk}/").content.decode()
    assert 'data-verdict="authentic"' in page
    assert page.index("Verdict of a reviewer") < page.index("What the model says") < page.index("Strong signs")
    assert "The reviewer disagrees with the model." in page
    for secret in (reviewer.email, "seen by me alone"):
        assert secret not in page


def test_the_history_says_that_it_is_new_until_it_was_opened(owner_client: Client, reviewed: Analysis):
    assert "New: reviewed" in owner_client.get("/analyses/").content.decode()
    owner_client.head(f"/analyses/{reviewed.pk}/")  # no one has looked
    assert "New: reviewed" in owner_client.get("/analyses/").content.decode()
    owner_client.get(f"/analyses/{reviewed.pk}/")
    page = owner_client.get("/analyses/").content.decode()
    assert "New: reviewed" not in page
    assert "Reviewed" in page


def test_history_and_counts_go_by_the_reviewers_word(owner_client: Client, reviewed: Analysis):
    assert owner_client.get("/analyses/", {"verdict": "authentic"}).context["page_obj"].paginator.count == 1
    assert owner_client.get("/analyses/", {"verdict": "manipulated"}).context["page_obj"].paginator.count == 0
    assert owner_client.get("/analyses/").context["counts"].by_verdict == {"authentic": 1}
    line = owner_client.get("/analyses/export.csv").content.decode("utf-8-sig").splitlines()[1]
    assert ",authentic," in line
    assert ",manipulated," in line


def test_the_api_and_the_reports_say_both(owner_client: Client, reviewed: Analysis, reviewer: User):
    body = owner_client.get(f"/api/v1/analyses/{reviewed.pk}/").json()
    assert (body["result"]["verdict"], body["result"]["model_verdict"]) == ("authentic", "manipulated")
    assert body["result"]["score"] == 0.91
    assert (body["review"]["role"], body["review"]["decision"]) == ("reviewer", "overturned")
    report = owner_client.get(f"/api/v1/analyses/{reviewed.pk}/report.json").json()
    assert report["statement"] == "Genuine"
    text = words_of(owner_client.get(f"/api/v1/analyses/{reviewed.pk}/report.pdf").content)
    assert "What the model says Strong signs of manipulation" in text
    assert reviewer.email not in text + json.dumps(body) + json.dumps(report)


# -- This is wrong ----------------------------------------------------------------------------------------------------


def test_a_user_objects_and_sees_what_comes_of_it(
    owner_client: Client, analysis: Analysis, reviewer: User, colleague: User
):
    address = f"/analyses/{analysis.pk}/dispute/"
    assert "This is genuine" in owner_client.get(address).content.decode()
    assert owner_client.post(address, {}).status_code == 400
    answer = owner_client.post(address, {"category": "genuine", "reason": "<b>my</b> brother"}, follow=True)
    page = answer.content.decode()
    assert "A reviewer will look at it" in page
    assert "Two reviewers have to agree" in page
    assert "You have said so before" in owner_client.post(address, {"category": "other"}, follow=True).content.decode()

    services.give_opinion(analysis=analysis, reviewer=reviewer, verdict="authentic", answer="It is a <vignette>.")
    assert "vignette" not in owner_client.get(f"/analyses/{analysis.pk}/").content.decode()
    services.give_opinion(analysis=analysis, reviewer=colleague, verdict="authentic")
    page = owner_client.get(f"/analyses/{analysis.pk}/").content.decode()
    assert "It is a &lt;vignette&gt;." in page
    assert "reviewers have answered" in page


def test_objecting_by_api(owner_client: Client, analysis: Analysis):
    address = f"/api/v1/analyses/{analysis.pk}/dispute/"
    send = {"content_type": "application/json"}
    assert owner_client.post(address, {"category": "nonsense"}, **send).json()["code"] == "invalid_request"
    answer = owner_client.post(address, {"category": "genuine"}, **send)
    assert answer.status_code == 201
    assert answer.json()["dispute"]["status"] == "open"
    assert owner_client.post(address, {"category": "genuine"}, **send).json()["code"] == "conflict"
    assert owner_client.delete(address).status_code == 204
    assert owner_client.delete(address).json()["code"] == "conflict"
    assert owner_client.get(f"/api/v1/analyses/{analysis.pk}/").json()["dispute"]["status"] == "withdrawn"


def test_taking_it_back_on_the_page(owner_client: Client, analysis: Analysis):
    services.dispute(analysis=analysis, category="other")
    page = owner_client.post(f"/analyses/{analysis.pk}/dispute/withdraw/", follow=True).content.decode()
    assert "You have taken it back." in page
    assert not Dispute.objects.get().is_open


def test_strangers_object_to_nothing(client: Client, stranger: User, analysis: Analysis):
    client.force_login(stranger)
    for path in ("dispute/", "dispute/withdraw/", "consent/"):
        assert client.post(f"/analyses/{analysis.pk}/{path}").status_code == 404
    assert client.post(f"/api/v1/analyses/{analysis.pk}/dispute/", {}).status_code == 404
    assert not Dispute.objects.exists()


# -- Consent ----------------------------------------------------------------------------------------------------------


def test_consent_is_asked_for_and_never_assumed(owner_client: Client, queued):
    page = owner_client.get("/").content.decode()
    (box,) = re.findall(r'<input[^>]*name="consent"[^>]*>', page)
    assert "checked" not in box
    owner_client.post("/upload/", {"file": factories.uploaded()})
    owner_client.post("/upload/", {"file": factories.uploaded(), "consent": "on"})
    given = Analysis.objects.order_by("created_at").values_list("upload__consented_at", flat=True)
    assert [when is not None for when in given] == [False, True]


def test_consent_on_page_and_api(owner_client: Client, analysis: Analysis):
    def consents() -> bool:
        return bool(owner_client.get(f"/api/v1/analyses/{analysis.pk}/").json()["consent"])

    owner_client.post(f"/analyses/{analysis.pk}/consent/", {"consent": "yes"})
    assert consents()
    owner_client.post(f"/analyses/{analysis.pk}/consent/", {"consent": "no"})
    assert not consents()
    address = f"/api/v1/analyses/{analysis.pk}/consent/"
    answer = owner_client.put(address, {"consent": True}, content_type="application/json")
    assert answer.json()["consent"] is True
    assert owner_client.put(address, {}, content_type="application/json").status_code == 400
    sent = owner_client.post("/api/v1/analyses/", {"file": factories.uploaded(), "consent": "true", "force": "true"})
    assert owner_client.get(f"/api/v1/analyses/{sent.json()['id']}/").json()["consent"] is True


def test_saying_so_is_limited_as_uploads_are(owner_client: Client, analysis: Analysis, settings):
    settings.RATE_LIMITS = {
        "uploads": {"user": "2/d", "address": None},
        "requests": {"user": None, "address": None},
    }
    address, send = f"/api/v1/analyses/{analysis.pk}/", {"content_type": "application/json"}
    assert owner_client.post(f"{address}dispute/", {"category": "genuine"}, **send).status_code == 201
    assert owner_client.put(f"{address}consent/", {"consent": True}, **send).status_code == 200
    assert owner_client.put(f"{address}consent/", {"consent": False}, **send).status_code == 429
    assert owner_client.delete(f"{address}dispute/").status_code == 429
    page = owner_client.post(f"/analyses/{analysis.pk}/consent/", {"consent": "no"}, follow=True).content.decode()
    assert "That is too much at once." in page
    assert owner_client.get(address).json()["consent"] is True


# -- Reading as a reviewer --------------------------------------------------------------------------------------------


def test_a_reviewer_reads_the_file_and_that_is_noted_once(reviewer_client: Client, analysis: Analysis, reviewer: User):
    for _ in range(3):
        assert reviewer_client.head(f"/media/{analysis.pk}/source").status_code == 200
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.object_id) == ("read", reviewer, str(analysis.pk))


def test_a_reviewer_reads_only_what_there_is_to_review(reviewer_client: Client, owner: User, media_root: Path):
    unfinished = factories.make_analysis(owner)
    assert reviewer_client.head(f"/media/{unfinished.pk}/source").status_code == 404
    services.open_case(unfinished)  # one that is run anew for a dispute
    assert reviewer_client.head(f"/media/{unfinished.pk}/source").status_code == 200


def test_a_reviewer_is_a_stranger_elsewhere_and_so_is_the_token(reviewer_client: Client, analysis: Analysis, reviewer):
    from accounts import tokens

    assert reviewer_client.get(f"/analyses/{analysis.pk}/").status_code == 404
    assert reviewer_client.get(f"/api/v1/analyses/{analysis.pk}/").status_code == 404
    _token, key = tokens.issue(user=reviewer, name="mine", lifetime=None)
    header = {"Authorization": f"Token {key}"}
    assert Client().head(f"/media/{analysis.pk}/source", headers=header).status_code == 404


def test_the_owner_reads_without_a_note(owner_client: Client, analysis: Analysis):
    assert owner_client.head(f"/media/{analysis.pk}/source").status_code == 200
    assert not AuditEntry.objects.exists()
