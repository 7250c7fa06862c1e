"""Users, reviewers, administrators; and the door of the admin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import LazySettings
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import tokens
from accounts.admin_log import Unnamed
from accounts.models import User
from accounts.roles import REVIEWERS, Role, role_of
from detection.models import may_review
from tests.accounts.conftest import sign_in
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db

NEW = "another quiet river 8"


def test_the_group_is_always_there_and_may_review():
    assert [p.codename for p in Group.objects.get(name=REVIEWERS).permissions.all()] == ["review_analysis"]


def test_somebody_becomes_a_reviewer_and_is_one_no_more(ann: User, capsys: pytest.CaptureFixture[str]):
    call_command("set_role", "Ann@Example.org", "reviewer")
    assert "now: reviewer" in capsys.readouterr().out
    ann = User.objects.get(pk=ann.pk)
    assert role_of(ann) == Role.REVIEWER
    assert ann.is_staff
    assert ann.has_perm("detection.review_analysis")
    assert not ann.has_perm("accounts.change_user")
    call_command("set_role", ann.email, "user")
    ann = User.objects.get(pk=ann.pk)
    assert role_of(ann) == Role.USER
    assert not ann.is_staff
    assert not ann.has_perm("detection.review_analysis")


def test_the_last_administrator_stays_one(ann: User):
    call_command("set_role", ann.email, "administrator")
    with pytest.raises(CommandError, match="only administrator"):
        call_command("set_role", ann.email, "user")
    other = make_user()
    call_command("set_role", other.email, "administrator")
    call_command("set_role", ann.email, "reviewer")
    assert role_of(User.objects.get(pk=ann.pk)) == Role.REVIEWER


def test_nobody_of_that_name(db: None):
    with pytest.raises(CommandError, match="Nobody"):
        call_command("set_role", "nobody@example.org", "reviewer")


def test_a_role_ends_with_the_account_being_closed(ann: User):
    call_command("set_role", ann.email, "reviewer")
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert role_of(User.objects.get(pk=ann.pk)) == Role.USER


# -- The admin's door -------------------------------------------------------------------------------------------------


@pytest.fixture
def admin(ann: User) -> User:
    call_command("set_role", ann.email, "administrator")
    return User.objects.get(pk=ann.pk)


def test_the_admin_has_no_sign_in_of_its_own(ann_client: Client, admin: User):
    """Django's form would ask for the password alone, and as often as one likes."""
    assert Client().get("/admin/")["Location"].startswith("/admin/login/")
    assert Client().get("/admin/login/?next=/admin/")["Location"] == "/accounts/login/?next=/admin/"
    make_user("bob@example.org", is_staff=True)
    data = {"username": "bob@example.org", "password": PASSWORD, "next": "/admin/"}
    for client in (Client(), ann_client):
        client.post("/admin/login/", data)
        assert client.get("/").context["user"].pk in (None, admin.pk)
    assert ann_client.get("/admin/password_change/")["Location"] == "/accounts/password/change/"


def test_staff_find_the_way_from_their_account(ann_client: Client, admin: User):
    page = ann_client.get("/accounts/").content.decode()
    assert "administrator" in page
    assert 'href="/admin/"' in page


def test_nobody_reads_the_key_of_a_second_factor_there(ann_client: Client, admin: User):
    bob = make_user("bob@example.org")
    factor = Authenticator.objects.create(user=bob, type="totp", data={"secret": "JBSWY3DPEHPK3PXP"})
    path = f"/admin/mfa/authenticator/{factor.pk}"
    for page in ("/admin/mfa/authenticator/", f"{path}/change/", f"{path}/delete/"):
        answer = ann_client.get(page)
        assert answer.status_code == 200
        assert "JBSWY3DPEHPK3PXP" not in answer.content.decode()
    ann_client.post(f"{path}/delete/", {"post": "yes"})
    assert not Authenticator.objects.exists(), "who has lost everything is let in again"


def test_an_administrator_finds_sessions_and_ends_them(ann_client: Client, admin: User):
    bob, browser = make_user("bob@example.org"), Client()
    sign_in(browser, bob.email)
    assert bob.email in ann_client.get("/admin/usersessions/usersession/", {"q": "bob"}).content.decode()
    session = UserSession.objects.get(user=bob)
    assert ann_client.get(f"/admin/usersessions/usersession/{session.pk}/change/").status_code == 200
    ann_client.post(f"/admin/usersessions/usersession/{session.pk}/delete/", {"post": "yes"})
    assert not browser.get("/").context["user"].is_authenticated


def fields(user: User, **changed: str) -> dict[str, str]:
    """What the form of a user sends."""
    data = {"theme": "auto", "first_name": "", "last_name": "", "language": ""}
    return data | {right: "on" for right in ("is_active", "is_staff", "is_superuser") if getattr(user, right)} | changed


def test_an_address_is_changed_by_its_user_alone(ann_client: Client, admin: User):
    """The old one, still confirmed, could otherwise set a new password."""
    bob = make_user("bob@example.org")
    path = f"/admin/accounts/user/{bob.pk}/change/"
    assert 'name="email"' not in ann_client.get(path).content.decode()
    done = ann_client.post(path, fields(bob, email="eve@example.org", first_name="Bob"))
    assert done.status_code == 302, done.context["errors"]
    bob.refresh_from_db()
    assert (bob.email, bob.first_name) == ("bob@example.org", "Bob")
    new = {"email": "new@example.org", "usable_password": "true", "password1": NEW, "password2": NEW}
    assert ann_client.post("/admin/accounts/user/add/", new).status_code == 302
    assert User.objects.filter(email="new@example.org").exists()


@pytest.mark.parametrize("right", ["is_active", "is_staff", "is_superuser"])
def test_the_last_administrator_stays_one_in_the_admin_too(ann_client: Client, admin: User, right: str):
    path = f"/admin/accounts/user/{admin.pk}/change/"
    data = fields(admin)
    del data[right]
    assert "the only administrator" in ann_client.post(path, data).content.decode()
    other = make_user("other@example.org", is_staff=True, is_superuser=True)
    assert ann_client.post(path, data).status_code == 302
    admin.refresh_from_db()
    assert not getattr(admin, right)
    assert role_of(other) == Role.ADMINISTRATOR


# -- Its log ----------------------------------------------------------------------------------------------------------


def test_every_page_there_logs_numbers_and_no_names():
    """Whoever adds one decides here whether its rows say anything about anybody."""
    harmless = {"auth.Group", "django_dramatiq.Task"}
    named = {model._meta.label for model, page in site._registry.items() if not isinstance(page, Unnamed)}
    assert named == harmless


def test_what_was_deleted_there_leaves_no_name_in_the_log(ann_client: Client, admin: User):
    bob, browser = make_user("bob@example.org"), Client(headers={"user-agent": "Lynx/2.9"}, REMOTE_ADDR="192.0.2.7")
    sign_in(browser, bob.email)
    token, _key = tokens.issue(user=bob, name="nightly", lifetime=None)
    factor = Authenticator.objects.create(user=bob, type="totp", data={"secret": "x"})
    address = EmailAddress.objects.create(user=bob, email="bob@example.com")
    session = UserSession.objects.get(user=bob)
    assert (session.ip, session.user_agent) == ("192.0.2.7", "Lynx/2.9")
    for row, field in ((address, "verified"), (bob, "theme")):
        change = f"/admin/{row._meta.label_lower.replace('.', '/')}/{row.pk}/change/"
        data = {"user": bob.pk, "email": address.email, field: "on"} if row is address else fields(bob, theme="dark")
        assert ann_client.post(change, data).status_code == 302
    for row in (token, factor, session):
        ann_client.post(f"/admin/{row._meta.label_lower.replace('.', '/')}/{row.pk}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [address.pk], "post": "yes"}
    ann_client.post("/admin/account/emailaddress/", chosen)
    left = str(list(LogEntry.objects.values_list("object_id", "object_repr", "change_message")))
    assert LogEntry.objects.count() == 6, left
    assert '"fields": ["Verified"]' in left
    for name in ("192.0.2.7", "Lynx", "nightly", token.token_key + "…", "bob@"):
        assert name not in left, name
    assert ann_client.get("/admin/").status_code == 200
    assert ann_client.get(f"/admin/accounts/user/{bob.pk}/history/").status_code == 200


def test_users_are_kept_out(ann_client: Client):
    assert ann_client.get("/admin/", follow=True).status_code == 403


def test_staff_set_up_a_second_factor_first_where_the_site_asks_for_it(
    ann_client: Client, admin: User, turn_on: Callable, settings: LazySettings
):
    assert ann_client.get("/admin/").status_code == 200
    settings.STAFF_MFA = True
    page = ann_client.get("/admin/", follow=True)
    assert "Set up a second factor first" in page.content.decode()
    assert ann_client.get("/admin/accounts/user/").status_code == 302
    turn_on(ann_client)
    assert ann_client.get("/admin/").status_code == 200


def test_reviewers_read_nobodys_files_before_that_either(ann: User, settings: LazySettings):
    call_command("set_role", ann.email, "reviewer")
    ann = User.objects.get(pk=ann.pk)
    assert may_review(ann)
    settings.STAFF_MFA = True
    assert not may_review(ann)
    Authenticator.objects.create(user=ann, type="totp", data={"secret": "x"})
    assert may_review(ann)


def test_users_without_rights_need_none(client: Client, ann: User, settings: LazySettings):
    settings.STAFF_MFA = True
    sign_in(client)
    assert client.get("/").status_code == 200
