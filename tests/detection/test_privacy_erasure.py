"""Deleting an account: no byte of media and no personal row remains, and nobody else loses anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import IntegrityError, connection
from django.test import Client
from django.utils import timezone

from accounts import roles, tokens
from accounts.models import User
from detection import runner, services, validators
from detection.models import (
    Analysis,
    AuditEntry,
    CallbackKey,
    DailyUse,
    DeletionReceipt,
    Dispute,
    IdempotentRequest,
    RetentionChoice,
    Review,
    ReviewCase,
    Upload,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from detection.privacy import erasure
from detection.problems import Refused
from tests import factories
from tests.accounts.conftest import sign_in, totp
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)

DELETE = "/accounts/delete/"


def live(user: User, media_root: Path) -> Analysis:
    """Leave a trace in everything that the site stores."""
    analysis = factories.make_result(user)
    faces = media_root / analysis.folder / "faces"
    faces.mkdir(parents=True)
    (faces / "0.jpg").write_bytes(b"a face")
    client = Client()
    sign_in(client, user.email)
    client.get("/")
    tokens.issue(user=user, name="nightly", lifetime=None)
    EmailAddress.objects.get_or_create(user=user, email=user.email)
    Authenticator.objects.create(user=user, type="totp", data={"secret": "JBSWY3DPEHPK3PXP"})
    RetentionChoice.objects.create(user=user, keep_seconds=60)
    CallbackKey.objects.create(user=user)
    DailyUse.objects.create(user=user, day="2026-01-01", analyses=3)
    later = timezone.now() + timedelta(hours=1)
    IdempotentRequest.objects.create(user=user, key="k", fingerprint="f", claimed_until=later, expires_at=later)
    endpoint = WebhookEndpoint.objects.create(user=user, url=f"https://example.org/{user.email}")
    event = WebhookEvent.objects.create(
        user=user, analysis=analysis, type="analysis.completed", body="{}", created_at=later
    )
    WebhookDelivery.objects.create(event=event, endpoint=endpoint, url=endpoint.url)
    case = ReviewCase.objects.create(analysis=analysis)
    Dispute.objects.create(case=case, category="genuine", reason=f"I am {user.email}", opened_at=later)
    for about, words in ((user, user.email), (endpoint, endpoint.url)):
        content_type = ContentType.objects.get_for_model(about)
        LogEntry.objects.create(
            user=user, content_type=content_type, object_id=str(about.pk), object_repr=words, action_flag=ADDITION
        )
    user.groups.add(Group.objects.get(name=roles.REVIEWERS))
    return analysis


def traces(*words: str) -> list[str]:
    """Tables in which one of these words stands, in any column."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            text = "\n".join(str(row) for row in cursor.fetchall())
            found += [f"{table}: {word}" for word in words if word in text]
    return found


def belonging_to(user_id: int) -> list[str]:
    """Models with a row that points to this user."""
    return [
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.concrete_fields
        if field.related_model is User and model._meta.managed and not model._meta.swapped
        if model._base_manager.filter(**{field.attname: user_id}).exists()
    ]


def test_no_byte_and_no_personal_row_remains(
    client: Client, owner: User, stranger: User, media_root: Path, stored: Callable[[], list[str]]
):
    theirs, mine = live(stranger, media_root), live(owner, media_root)
    kept = [path for path in stored() if path.startswith(str(theirs.upload_id))]
    owner_id = owner.pk
    assert len(belonging_to(owner_id)) >= 12
    assert len(traces(owner.email)) >= 4
    sign_in(client, owner.email)
    erasure.erase(user=owner)

    assert traces(owner.email, str(mine.pk), mine.pk.hex) == []
    assert belonging_to(owner_id) == []
    assert stored() == kept
    assert [p.name for p in media_root.iterdir()] == [str(theirs.upload_id)]
    assert not client.get("/").context["user"].is_authenticated
    assert [(e.action, e.actor_id, e.role) for e in AuditEntry.objects.all()] == [("erase", None, "user")]
    receipt = DeletionReceipt.objects.get(upload_id=mine.upload_id)
    assert (receipt.user, receipt.reason, receipt.size > 0) == (None, "account", True)
    # Of the stranger nothing is gone.
    assert Analysis.objects.get().pk == theirs.pk
    assert len(belonging_to(stranger.pk)) >= 12
    # The address is told, whoever asked for it.
    assert [message.to for message in mail.outbox] == [["owner@example.org"]]
    erasure.erase(user=User(pk=owner_id))  # twice does no harm
    # And the address is free again.
    assert factories.make_user("owner@example.org").pk


def test_sessions_themselves_are_gone(owner: User):
    client = Client()
    sign_in(client, owner.email)
    assert UserSession.objects.filter(user=owner).count() == 1
    erasure.erase(user=owner)
    assert not Session.objects.filter(session_key=client.session.session_key).exists()


def test_a_running_analysis_stops_and_leaves_nothing(owner: User, media_root: Path, stored: Callable[[], list[str]]):
    analysis = factories.make_analysis(owner)
    claim = runner.Claim.take(analysis.pk)
    assert claim is not None
    claim.attempt.folder.mkdir(parents=True)
    (claim.attempt.folder / "half.jpg").write_bytes(b"half a face")
    erasure.erase(user=owner)
    with pytest.raises(runner.Cancelled):
        claim.write(frames_done=1)
    claim.clean_up()
    assert stored() == []
    assert list(media_root.iterdir()) == []


def test_an_upload_that_arrives_too_late_leaves_no_file(owner: User, stored: Callable[[], list[str]]):
    accepted = validators.accept(factories.uploaded())
    gone = User.objects.get(pk=owner.pk)
    erasure.erase(user=owner)
    with pytest.raises((IntegrityError, Refused, User.DoesNotExist)):
        services.submit(user=gone, upload=accepted)
    assert stored() == []
    assert not Upload.objects.exists()


def test_what_a_reviewer_said_about_others_stays_without_a_name(owner: User, stranger: User):
    case = ReviewCase.objects.create(analysis=factories.make_result(stranger))
    review = Review.objects.create(case=case, reviewer=owner, verdict="authentic")
    erasure.erase(user=owner)
    review.refresh_from_db()
    assert review.reviewer is None


def test_the_last_administrator_cannot_go(owner: User):
    roles.set_role(owner, roles.Role.ADMINISTRATOR)
    with pytest.raises(Refused, match="only administrator"):
        erasure.erase(user=owner)
    assert User.objects.filter(pk=owner.pk).exists()


# -- The page ---------------------------------------------------------------------------------------------------------


def test_a_visitor_sees_no_page(client: Client):
    assert client.get(DELETE).status_code == 302


def test_the_password_is_asked_for(client: Client, owner: User, stored: Callable[[], list[str]]):
    factories.make_result(owner)
    sign_in(client, owner.email)
    assert "1 upload" in client.get(DELETE).content.decode()
    assert client.post(DELETE, {"password": "wrong"}).status_code == 400
    assert client.post(DELETE, {}).status_code == 400
    assert User.objects.filter(pk=owner.pk).exists()
    answer = client.post(DELETE, {"password": PASSWORD})
    assert answer["Clear-Site-Data"] == '"cache"'
    assert "was deleted" in client.get(answer["Location"]).content.decode()
    assert not User.objects.filter(pk=owner.pk).exists()
    assert stored() == []
    assert sign_in(client, "owner@example.org").status_code == 200, "nobody to sign in as"


def test_and_the_second_factor_where_there_is_one(client: Client, owner: User):
    secret = "JBSWY3DPEHPK3PXP"
    sign_in(client, owner.email)
    Authenticator.objects.create(user=owner, type="totp", data={"secret": secret})
    assert client.post(DELETE, {"password": PASSWORD}).status_code == 400
    assert client.post(DELETE, {"password": PASSWORD, "code": totp(secret, steps=-50)}).status_code == 400
    assert client.post(DELETE, {"password": "wrong", "code": totp(secret)}).status_code == 400
    assert User.objects.filter(pk=owner.pk).exists()
    assert client.post(DELETE, {"password": PASSWORD, "code": totp(secret)}).status_code == 302
    assert not User.objects.filter(pk=owner.pk).exists()


def test_guessing_the_password_there_is_slowed_down(client: Client, owner: User):
    sign_in(client, owner.email)
    for number in range(11):
        client.post(DELETE, {"password": f"guess {number}"})
    assert client.post(DELETE, {"password": PASSWORD}).status_code == 400
    assert User.objects.filter(pk=owner.pk).exists()


# -- The admin --------------------------------------------------------------------------------------------------------


def test_an_administrator_erases_after_being_asked(
    client: Client, owner: User, media_root: Path, stored: Callable[[], list[str]]
):
    boss = factories.make_user("boss@example.org", is_staff=True, is_superuser=True)
    client.force_login(boss)
    live(owner, media_root)
    path = f"/admin/accounts/user/{owner.pk}/delete/"
    assert "owner@example.org, with all files and results" in client.get(path).content.decode()
    assert client.post(path, {"post": "yes"}).status_code == 302
    assert traces("owner@example.org") == []
    assert stored() == []
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.role) == ("erase", boss, "administrator")


def test_an_administrator_erases_several_but_never_oneself(client: Client, owner: User, stranger: User):
    boss = factories.make_user("boss@example.org", is_staff=True, is_superuser=True)
    client.force_login(boss)
    data = {"action": "delete_selected", "_selected_action": [owner.pk, stranger.pk], "post": "yes"}
    client.post("/admin/accounts/user/", data)
    assert list(User.objects.all()) == [boss]
    client.post("/admin/accounts/user/", {**data, "_selected_action": [boss.pk]})
    assert client.post(f"/admin/accounts/user/{boss.pk}/delete/", {"post": "yes"}).status_code == 403
    assert list(User.objects.all()) == [boss]


def test_staff_who_may_change_users_may_not_erase_them(client: Client, owner: User):
    staff = factories.make_user("staff@example.org", is_staff=True)
    client.force_login(staff)
    assert client.post(f"/admin/accounts/user/{owner.pk}/delete/", {"post": "yes"}).status_code == 403
