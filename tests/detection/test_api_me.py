"""`/api/v1/me/`: who one is, and what one chose."""

from __future__ import annotations

import pytest
from django.core import mail
from django.test import Client

from accounts import roles, tokens
from accounts.models import User
from detection import notices
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

ME = "/api/v1/me/"
JSON = "application/json"


def test_it_says_role_and_choices(owner_client: Client, owner: User):
    body = owner_client.get(ME).json()
    assert (body["role"], body["second_factor"], body["token"]) == ("user", False, None)
    assert body["preferences"] == {
        "language": "",
        "theme": "auto",
        "notify_reviews": True,
        "notify_analyses": False,
    }
    roles.set_role(owner, roles.Role.REVIEWER)
    assert owner_client.get(ME).json()["role"] == "reviewer"


def test_a_program_changes_what_it_names(client: Client, owner: User):
    _token, key = tokens.issue(user=owner, name="phone", lifetime=None)
    headers = {"Authorization": f"Token {key}"}
    answer = client.patch(ME, {"theme": "dark", "notify_analyses": True}, content_type=JSON, headers=headers)
    assert answer.status_code == 200
    owner.refresh_from_db()
    assert (owner.theme, owner.notify_analyses, owner.notify_reviews, owner.language) == ("dark", True, True, "")
    assert answer.json()["preferences"]["theme"] == "dark"
    client.patch(ME, {"language": "de"}, content_type=JSON, headers=headers)
    owner.refresh_from_db()
    assert owner.language == "de"


@pytest.mark.parametrize("wrong", [{"theme": "mauve"}, {"language": "fr"}, {"notify_reviews": None}, []])
def test_nonsense_is_refused(owner_client: Client, owner: User, wrong: object):
    answer = owner_client.patch(ME, wrong, content_type=JSON)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"


def test_neither_address_nor_rights_are_changed_here(owner_client: Client, owner: User):
    owner_client.patch(ME, {"email": "x@example.org", "is_superuser": True, "role": "administrator"}, content_type=JSON)
    owner.refresh_from_db()
    assert (owner.email, owner.is_superuser) == ("owner@example.org", False)


def test_the_end_of_an_analysis_is_told_to_those_who_want_it(owner: User):
    analysis = factories.make_result(owner)
    notices.tell_ended(str(analysis.pk))
    assert mail.outbox == []
    User.objects.filter(pk=owner.pk).update(notify_analyses=True)
    notices.tell_ended(str(analysis.pk))
    assert mail.outbox == [], "not to an address that may be somebody else's"
    factories.confirm_address(owner)
    notices.tell_ended(str(analysis.pk))
    (message,) = mail.outbox
    assert message.to == [owner.email]
    assert "face.jpg" in message.subject
    analysis.upload.delete()
    notices.tell_ended(str(analysis.pk))
    assert len(mail.outbox) == 1
