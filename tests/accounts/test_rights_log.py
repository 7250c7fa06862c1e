"""Who gave whom which rights: in the log of acts, which nobody changes."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client

from accounts import roles
from accounts.models import User
from detection.models import AuditEntry
from tests.accounts.conftest import sign_in
from tests.accounts.test_roles import fields
from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(ann: User) -> User:
    """Past ``set_role``, so that the log is empty."""
    User.objects.filter(pk=ann.pk).update(is_staff=True, is_superuser=True)
    return User.objects.get(pk=ann.pk)


@pytest.fixture
def admin_client(client: Client, admin: User) -> Client:
    sign_in(client)
    return client


def entry() -> AuditEntry:
    return AuditEntry.objects.get(action="rights")


def test_the_command_is_noted(ann: User):
    call_command("set_role", ann.email, "reviewer")
    found = entry()
    assert (found.actor, found.role) == (None, "system")
    assert (found.object_type, found.object_id) == ("account", str(ann.pk))
    assert found.before == {"staff": False, "groups": []}
    assert found.after == {"staff": True, "groups": ["reviewers"]}
    assert ann.email not in str(list(AuditEntry.objects.values()))


def test_nothing_is_noted_where_nothing_changes(ann: User):
    call_command("set_role", ann.email, "user")
    assert not AuditEntry.objects.exists()


def test_what_fails_is_not_noted(admin: User):
    with pytest.raises(roles.LastAdministrator):
        roles.set_role(admin, roles.Role.USER)
    assert not AuditEntry.objects.exists()


def test_an_administrator_is_named(admin_client: Client, admin: User):
    bob = make_user("bob@example.org")
    reviewers = Group.objects.get(name=roles.REVIEWERS)
    data = fields(bob, groups=str(reviewers.pk), is_staff="on")
    assert admin_client.post(f"/admin/accounts/user/{bob.pk}/change/", data).status_code == 302
    found = entry()
    assert (found.actor, found.role, found.object_id) == (admin, "administrator", str(bob.pk))
    assert found.after == {"staff": True, "groups": ["reviewers"]}


def test_a_closed_account_is_noted_and_a_new_name_is_not(admin_client: Client):
    bob = make_user("bob@example.org")
    path = f"/admin/accounts/user/{bob.pk}/change/"
    admin_client.post(path, fields(bob, first_name="Bob"))
    assert not AuditEntry.objects.exists()
    data = fields(bob)
    del data["is_active"]
    admin_client.post(path, data)
    assert (entry().before, entry().after) == ({"active": True}, {"active": False})


def test_what_a_group_may_is_noted(admin_client: Client, admin: User):
    group = Group.objects.get(name=roles.REVIEWERS)
    permission = Permission.objects.get(codename="view_user", content_type__app_label="accounts")
    data = {"name": group.name, "permissions": [permission.pk]}
    assert admin_client.post(f"/admin/auth/group/{group.pk}/change/", data).status_code == 302
    found = entry()
    assert (found.object_type, found.actor) == ("group", admin)
    assert found.before == {"permissions": ["detection.review_analysis"]}
    assert found.after == {"permissions": ["accounts.view_user"]}


def test_a_group_that_goes_takes_rights_away(admin_client: Client):
    group = Group.objects.create(name="guests")
    admin_client.post(f"/admin/auth/group/{group.pk}/delete/", {"post": "yes"})
    found = entry()
    assert (found.object_id, found.before) == (str(group.pk), {"name": "guests", "permissions": []})
    assert found.after == {}


def test_the_first_administrator_is_noted(db: None, capsys: pytest.CaptureFixture[str]):
    call_command("first_user", "--email", "ann@example.org")
    capsys.readouterr()
    assert entry().after == {"staff": True, "superuser": True}
