"""Downloading one's data: everything personal, no secrets, nothing of anybody else, in bounded memory."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model
from django.test import AsyncClient, Client

from accounts import tokens
from accounts.models import User
from detection.models import CallbackKey, Dispute, Review, ReviewCase, Upload, WebhookEndpoint
from detection.privacy import archive
from detection.review import audit
from tests import factories
from tests.accounts.conftest import sign_in
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)

DATA = "/accounts/data/"
# What belongs to a user and is in the archive in another shape, or not at all, and why.
ELSEWHERE = {
    "admin.LogEntry": "the site's record of what administrators did; it names other people",
    "account.EmailConfirmation": "keys in use",
    "accounts.User_groups": "told by the roles",
    "accounts.User_user_permissions": "rights, given to staff only",
    "detection.DeadLetter": "the site's record of its own failures: ids, an error's class, a place in the program",
    "detection.FaceTrack": "in the reports",
    "detection.FaceScore": "in the reports",
}


def opened(blocks: Any) -> zipfile.ZipFile:
    found = zipfile.ZipFile(io.BytesIO(b"".join(blocks)))
    assert found.testzip() is None
    return found


def data(found: zipfile.ZipFile, name: str) -> Any:
    return json.loads(found.read(f"data/{name}.json"))


def test_it_holds_everything_and_nothing_of_others(owner: User, stranger: User):
    analysis, failed = (
        factories.make_result(owner),
        factories.make_analysis(owner, status="failed", error_code="no_face"),
    )
    theirs = factories.make_result(stranger)
    WebhookEndpoint.objects.create(user=stranger, url="https://example.org/theirs")
    found = opened(archive.stream(owner, "en"))
    everything = b"\n".join(found.read(name) for name in found.namelist() if not name.endswith(".pdf"))
    assert data(found, "account")[0]["email"] == "owner@example.org"
    assert {row["id"] for row in data(found, "analyses")} == {str(analysis.pk), str(failed.pk)}
    assert data(found, "webhooks") == []
    assert b"stranger@example.org" not in everything
    assert str(theirs.pk).encode() not in everything
    reports = {name for name in found.namelist() if name.startswith("reports/")}
    assert {name.rsplit(".", 1)[1] for name in reports} == {"json", "pdf"}
    assert len(reports) == 3, "the one that failed has no PDF"
    for name in reports:
        assert name.endswith(".json") or found.read(name).startswith(b"%PDF-")


def test_it_holds_no_secret(owner: User):
    endpoint = WebhookEndpoint.objects.create(user=owner, url="https://example.org/hook")
    key = CallbackKey.objects.create(user=owner)
    token, _key = tokens.issue(user=owner, name="nightly", lifetime=None)
    client = Client()
    sign_in(client, owner.email)
    found = opened(archive.stream(owner, "en"))
    everything = b"\n".join(found.read(name) for name in found.namelist()).decode()
    assert data(found, "tokens")[0]["name"] == "nightly"
    assert data(found, "webhooks")[0]["url"] == endpoint.url
    assert data(found, "signed-in-browsers")[0]["ip"] == "127.0.0.1"
    for secret in (endpoint.secret, key.secret, token.digest, owner.password, client.session.session_key):
        assert secret not in everything


def test_what_looks_like_a_secret_is_left_out():
    """Whoever adds a field with such a name decides here what it is."""
    harmless = {"token_key", "sha256", "model_sha256", "key", "fingerprint"}
    suspicious = ("secret", "password", "digest", "token", "key", "hash", "sha256", "fingerprint", "session")
    for table in archive.TABLES:
        for field in table.model._meta.concrete_fields:
            if any(word in field.name for word in suspicious) and field.name not in harmless:
                assert field.name in table.without, f"{table.name}: {field.name}"


def test_no_model_is_forgotten():
    """Everything that a chain of foreign keys ties to a user is in the archive, or is said to be elsewhere."""
    tied: set[type[Model]] = {User}
    while True:
        more = {
            model
            for model in apps.get_models(include_auto_created=True)
            if not model._meta.swapped and not model._meta.proxy
            for field in model._meta.concrete_fields
            if field.related_model in tied
        } - tied
        if not more:
            break
        tied |= more
    told = {table.model for table in archive.TABLES}
    assert {model._meta.label for model in tied - told} == set(ELSEWHERE)


def test_what_reviewers_wrote_for_each_other_is_left_out(owner: User, stranger: User):
    case = ReviewCase.objects.create(analysis=factories.make_result(owner), assigned_to=stranger)
    Review.objects.create(case=case, reviewer=stranger, verdict="authentic", note="between us")
    Dispute.objects.create(case=case, category="genuine", reason="It is my uncle.", opened_at=case.created_at)
    found = opened(archive.stream(owner, "en"))
    assert data(found, "disputes")[0]["reason"] == "It is my uncle."
    (review,) = data(found, "reviews")
    assert review["verdict"] == "authentic"
    assert not {"note", "reviewer_id"} & set(review)
    assert "assigned_to_id" not in data(found, "review-cases")[0]
    mine = opened(archive.stream(stranger, "en"))
    assert data(mine, "reviews-given")[0]["note"] == "between us"


def test_it_tells_what_was_done_to_ones_own_analyses_and_not_by_whom(owner: User, stranger: User):
    mine, theirs = factories.make_result(owner), factories.make_result(stranger)
    for about in (mine, theirs):
        audit.record(audit.Action.READ, about, actor=stranger, role=audit.Role.REVIEWER, after={"to": stranger.pk})
    audit.record(audit.Action.ERASE, "account", actor=stranger)
    (entry,) = data(opened(archive.stream(owner, "en")), "audit")
    assert (entry["object_id"], entry["action"], entry["role"]) == (str(mine.pk), "read", "reviewer")
    assert entry["at"]
    assert not {"actor_id", "before", "after"} & set(entry)


def test_it_is_made_block_by_block(owner: User):
    """Never all at once: what was given away is no longer held."""
    for _number in range(3):
        factories.make_result(owner)
    blocks = list(archive.stream(owner, "en"))
    assert len(blocks) > len(archive.TABLES)
    assert b"" not in blocks
    assert max(map(len, blocks)) < sum(map(len, blocks)) / 3


def test_an_analysis_that_goes_away_meanwhile_is_left_out(owner: User):
    factories.make_result(owner)
    blocks = archive.stream(owner, "en")
    begun = [next(blocks)]
    Upload.objects.all().delete()
    assert [name for name in opened([*begun, *blocks]).namelist() if name.startswith("reports/")] == []


def test_the_reports_speak_the_readers_language(owner: User):
    factories.make_result(owner)
    found = opened(archive.stream(owner, "de"))
    assert "Veriframe" in found.read("README.txt").decode()
    report = next(name for name in found.namelist() if name.endswith(".json") and name.startswith("reports/"))
    assert "Anzeichen" in found.read(report).decode()


# -- The page ---------------------------------------------------------------------------------------------------------


def test_one_proves_who_one_is_first(client: Client, owner: User):
    assert client.get(DATA)["Location"].startswith("/accounts/login/")
    client.force_login(owner)  # as a session that was left open
    assert client.get(DATA)["Location"].startswith("/accounts/reauthenticate/")
    page = client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": DATA}, follow=True)
    assert "Download my data" in page.content.decode()


@pytest.fixture
def async_client(owner: User, async_client_of: Callable[[User], AsyncClient]) -> AsyncClient:
    return async_client_of(owner)


async def test_it_is_sent_as_a_file(async_client: AsyncClient):
    await async_client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": DATA})
    response = await async_client.post(DATA)
    assert response.status_code == 200
    assert response["Content-Disposition"] == 'attachment; filename="veriframe-data.zip"'
    blocks = [block async for block in response.streaming_content]
    assert "data/account.json" in opened(blocks).namelist()
