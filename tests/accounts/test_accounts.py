"""Who you are: by e-mail, without a user name."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client

from accounts.models import User
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_counted_attempts():
    """allauth counts failed attempts in the cache."""
    yield
    cache.clear()


def login(client: Client, email: str, password: str):
    return client.post("/accounts/login/", {"login": email, "password": password})


def sign_up(client: Client, email: str):
    return client.post("/accounts/signup/", {"email": email, "password1": PASSWORD, "password2": PASSWORD})


def test_addresses_are_one_whatever_their_case():
    make_user("Ann@Example.org")
    assert User.objects.get().email == "ann@example.org"
    assert User.objects.get_by_natural_key("ANN@example.ORG").email == "ann@example.org"
    with pytest.raises(IntegrityError), transaction.atomic():
        User(email="ANN@example.org").save()


def test_a_user_needs_an_address():
    with pytest.raises(ValueError, match="address"):
        User.objects.create_user("")


def test_sign_up_sign_out_sign_in(client: Client):
    response = sign_up(client, "New@Example.org")
    assert response.status_code == 302, response.context["form"].errors
    assert client.get("/").context["user"].email == "new@example.org"
    client.post("/accounts/logout/")
    assert not client.get("/").context["user"].is_authenticated
    assert login(client, "NEW@example.org", PASSWORD)["Location"] == "/"
    assert client.get("/").context["user"].is_authenticated


def test_nobody_learns_who_has_an_account(client: Client):
    """Signing up with a taken address looks the same, and tells its owner."""
    make_user("taken@example.org")
    assert sign_up(client, "taken@example.org").status_code in (200, 302)
    assert User.objects.count() == 1
    assert not client.get("/").context["user"].is_authenticated


def test_a_wrong_password(client: Client):
    make_user("ann@example.org")
    response = login(client, "ann@example.org", "wrong")
    assert response.status_code == 200
    assert response.context["form"].errors
    assert not client.get("/").context["user"].is_authenticated


def test_guessing_is_slowed_down(client: Client):
    make_user("ann@example.org")
    answers = [login(client, "ann@example.org", f"guess {n}").status_code for n in range(12)]
    assert login(client, "ann@example.org", PASSWORD).status_code != 302, answers


def test_a_forgotten_password(client: Client):
    make_user("ann@example.org")
    client.post("/accounts/password/reset/", {"email": "Ann@example.org"})
    assert [message.to for message in mail.outbox] == [["ann@example.org"]]
    link = re.search(r"http://\S+", str(mail.outbox[0].body))[0]
    page = client.get(link, follow=True)
    new = "another quiet river 8"
    client.post(page.redirect_chain[-1][0], {"password1": new, "password2": new})
    assert User.objects.get().check_password(new)


def test_changing_the_password(client: Client):
    client.force_login(make_user("ann@example.org"))
    new = "another quiet river 8"
    data = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    client.post("/accounts/password/change/", data)
    assert User.objects.get().check_password(new)


def test_the_admin_uses_the_same_sign_in(client: Client):
    assert client.get("/admin/login/?next=/admin/")["Location"].startswith("/accounts/login/")


def test_the_first_user_is_made_once_and_can_sign_in(client: Client, capsys):
    call_command("first_user")
    email, password = re.search(r"e-mail\s+(\S+)\s+password\s+(\S+)", capsys.readouterr().out).groups()
    assert login(client, email, password).status_code == 302
    assert client.get("/admin/").status_code == 200
    call_command("first_user")
    assert capsys.readouterr().out == ""
    assert User.objects.count() == 1


def test_the_first_user_need_not_confirm_an_address_that_may_lead_nowhere(client: Client, capsys, settings):
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    call_command("first_user")
    email, password = re.search(r"e-mail\s+(\S+)\s+password\s+(\S+)", capsys.readouterr().out).groups()
    login(client, email, password)
    assert client.get("/admin/").status_code == 200


def test_an_inactive_user_cannot_sign_in(client: Client):
    make_user("ann@example.org", is_active=False)
    login(client, "ann@example.org", PASSWORD)
    assert not client.get("/").context["user"].is_authenticated
