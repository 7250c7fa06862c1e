"""Addresses, passwords, second factors and sessions, by the pages that people use."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import LazySettings
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts import sessions
from accounts.models import User
from accounts.sessions import forget_ended
from config import layer
from tests.accounts.conftest import link_in_mail, sign_in, totp
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db

NEW = "another quiet river 8"
TOTP = "/accounts/2fa/totp/activate/"


def who(client: Client) -> User:
    return client.get("/").context["user"]


# -- The address ------------------------------------------------------------------------------------------------------


def test_a_new_user_confirms_the_address_where_the_site_wants_it(client: Client, settings: LazySettings):
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    data = {"email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD}
    page = client.post("/accounts/signup/", data, follow=True)
    assert "Confirm your address" in page.content.decode()
    assert not who(client).is_authenticated
    assert sign_in(client, "new@example.org").status_code == 302
    assert not who(client).is_authenticated, "not before the link was opened"
    link = link_in_mail("new@example.org")
    assert "Is this your address?" in client.get(link).content.decode()
    client.post(link)
    sign_in(client, "new@example.org")
    assert who(client).email == "new@example.org"


def test_a_bad_link_is_said_to_be_one(client: Client):
    assert "does not work any more" in client.get("/accounts/confirm-email/nonsense/").content.decode()


def test_another_address_counts_once_it_is_confirmed(ann_client: Client, ann: User):
    EmailAddress.objects.create(user=ann, email=ann.email, verified=True, primary=True)
    page = ann_client.post("/accounts/email/", {"email": "ann@example.com", "action_add": ""}, follow=True)
    assert "Is it you?" in page.content.decode(), "who finds an open browser does not take the account over"
    page = ann_client.post(page.request["PATH_INFO"], {"password": PASSWORD, "next": "/accounts/email/"}, follow=True)
    assert "ann@example.com" in page.content.decode()
    ann.refresh_from_db()
    assert ann.email == "ann@example.org"
    ann_client.post(link_in_mail("ann@example.com"))
    ann.refresh_from_db()
    assert ann.email == "ann@example.com"
    assert [message.to for message in mail.outbox][-1] == ["ann@example.org"], "the old one is told"
    ann_client.post("/accounts/logout/")
    sign_in(ann_client, "ann@example.com")
    assert who(ann_client) == ann


def test_a_taken_address_is_not_given_away(ann_client: Client):
    make_user("taken@example.org")
    ann_client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    ann_client.post("/accounts/email/", {"email": "taken@example.org", "action_add": ""})
    assert not EmailAddress.objects.filter(email="taken@example.org", verified=True).exists()
    assert User.objects.filter(email="taken@example.org").count() == 1


# -- The password -----------------------------------------------------------------------------------------------------


def test_a_changed_password_ends_all_sessions_and_is_told(ann_client: Client, ann: User):
    elsewhere = Client()
    sign_in(elsewhere)
    data = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    ann_client.post("/accounts/password/change/", data)
    assert not who(ann_client).is_authenticated
    assert not who(elsewhere).is_authenticated
    sign_in(ann_client, password=NEW)
    assert who(ann_client) == ann


def test_a_reset_link_works_once(client: Client, ann: User):
    client.post("/accounts/password/reset/", {"email": ann.email})
    link = link_in_mail(ann.email)
    form = client.get(link, follow=True)
    assert "Set a new password" in form.content.decode()
    done = client.post(form.redirect_chain[-1][0], {"password1": NEW, "password2": NEW}, follow=True)
    assert "The new password is set" in done.content.decode()
    assert "does not work any more" in Client().get(link, follow=True).content.decode()
    sign_in(client, password=NEW)
    assert who(client) == ann


def test_asking_for_a_reset_tells_nobody_who_has_an_account(client: Client, ann: User):
    answers = {
        client.post("/accounts/password/reset/", {"email": email}, follow=True).content
        for email in (ann.email, "nobody@example.org")
    }
    assert len({b"Look into your e-mail" in answer for answer in answers}) == 1
    assert sorted(message.to[0] for message in mail.outbox) == [ann.email, "nobody@example.org"]


def test_resets_are_limited(client: Client, ann: User):
    for _number in range(10):
        client.post("/accounts/password/reset/", {"email": ann.email})
    assert len(mail.outbox) <= 5


def test_guesses_are_counted_for_the_account_wherever_they_come_from(ann: User):
    """In the cache, which all processes of a site share."""
    for number in range(6):
        Client(REMOTE_ADDR=f"192.0.2.{number}").post(
            "/accounts/login/", {"login": ann.email, "password": f"guess {number}"}
        )
    late = Client(REMOTE_ADDR="192.0.2.99")
    assert sign_in(late).status_code == 200
    assert not who(late).is_authenticated
    cache.clear()
    assert sign_in(late).status_code == 302


# -- The second factor ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_second_factor_is_asked_for_at_the_next_sign_in(ann_client: Client, ann: User, turn_on: Callable):
    secret = turn_on(ann_client)
    assert ann.email in [message.to[0] for message in mail.outbox], "told of it"
    codes = ann_client.get("/accounts/2fa/recovery-codes/").context["unused_codes"]
    assert len(codes) == 10
    ann_client.post("/accounts/logout/")

    assert sign_in(ann_client)["Location"].startswith("/accounts/2fa/authenticate/")
    assert not who(ann_client).is_authenticated, "the password alone opens nothing"
    wrong = ann_client.post("/accounts/2fa/authenticate/", {"code": totp(secret, steps=-99)})
    assert wrong.context["form"].errors
    ann_client.post("/accounts/2fa/authenticate/", {"code": totp(secret)})
    assert who(ann_client) == ann

    other = Client()
    sign_in(other)
    again = other.post("/accounts/2fa/authenticate/", {"code": totp(secret)})
    assert again.status_code == 200, "a code that somebody has looked over the shoulder for is used up"
    other.post("/accounts/2fa/authenticate/", {"code": codes[0]})
    assert who(other) == ann
    third = Client()
    sign_in(third)
    third.post("/accounts/2fa/authenticate/", {"code": codes[0]})
    assert not who(third).is_authenticated, "a recovery code opens once"


def test_a_code_opens_once_however_long_it_is_good(ann_client: Client, turn_on: Callable):
    """allauth forgets a used code after thirty seconds; with clocks that may differ it is good for ninety."""
    code = totp(turn_on(ann_client), steps=1)  # of the next thirty seconds
    used = {"code": code}
    ann_client.post("/accounts/logout/")
    sign_in(ann_client)
    ann_client.post("/accounts/2fa/authenticate/", used)
    assert who(ann_client).is_authenticated
    cache.delete(f"allauth.mfa.totp.used?user={who(ann_client).pk}&code={code}")  # as it does by then
    for again in (used, {"code": f"{code[:3]} {code[3:]}"}):
        other = Client()
        sign_in(other)
        other.post("/accounts/2fa/authenticate/", again)
        assert not who(other).is_authenticated


def test_guessing_codes_is_slowed_down(ann_client: Client, turn_on: Callable):
    secret = turn_on(ann_client)
    ann_client.post("/accounts/logout/")
    sign_in(ann_client)
    for number in range(6):
        ann_client.post("/accounts/2fa/authenticate/", {"code": f"{number:06d}"})
    ann_client.post("/accounts/2fa/authenticate/", {"code": totp(secret)})
    assert not who(ann_client).is_authenticated


def test_turning_it_off_needs_a_proof_and_is_told(ann_client: Client, ann: User, turn_on: Callable):
    secret = turn_on(ann_client)
    ann_client.post("/accounts/logout/")
    sign_in(ann_client)
    ann_client.post("/accounts/2fa/authenticate/", {"code": totp(secret)})
    cache.clear()
    page = ann_client.get("/accounts/2fa/totp/deactivate/", follow=True)
    assert "Is it you?" in page.content.decode()
    ann_client.post("/accounts/2fa/reauthenticate/", {"code": totp(secret)})
    ann_client.post("/accounts/2fa/totp/deactivate/")
    assert not Authenticator.objects.filter(user=ann).exists(), "recovery codes go with it"
    assert "deactivated" in str(mail.outbox[-1].body)


def test_an_address_can_be_changed_with_a_second_factor(ann_client: Client, ann: User, turn_on: Callable):
    turn_on(ann_client)
    ann_client.post("/accounts/email/", {"email": "ann@example.com", "action_add": ""})
    ann_client.post(link_in_mail("ann@example.com"))
    ann.refresh_from_db()
    assert ann.email == "ann@example.com"


# -- Sessions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def phone(ann: User) -> Client:
    client = Client(
        headers={"user-agent": "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"}
    )
    sign_in(client)
    return client


def test_the_list_names_browsers_and_ends_one(ann_client: Client, ann: User, phone: Client):
    page = ann_client.get("/accounts/sessions/").content.decode()
    assert "Chrome, Android" in page
    assert page.count("This one") == 1
    other = UserSession.objects.get(user=ann, user_agent__contains="Android")
    stranger = Client()
    stranger.force_login(make_user())
    assert stranger.post(f"/accounts/sessions/{other.pk}/end/").status_code == 404
    assert who(phone) == ann
    ann_client.post(f"/accounts/sessions/{other.pk}/end/")
    assert not who(phone).is_authenticated
    assert who(ann_client) == ann


def test_signing_out_all_others(ann_client: Client, ann: User, phone: Client):
    ann_client.post("/accounts/sessions/")
    assert not who(phone).is_authenticated
    assert who(ann_client) == ann


def test_signing_out_everywhere(ann_client: Client, ann: User, phone: Client):
    page = ann_client.post("/accounts/sessions/end-all/", follow=True)
    assert "You are signed out everywhere" in page.content.decode()
    assert not who(phone).is_authenticated
    assert not who(ann_client).is_authenticated
    assert not UserSession.objects.filter(user=ann).exists()


def test_a_session_that_began_before_there_was_a_list_gets_into_it(client: Client, ann: User):
    client.force_login(ann)  # as old sessions: past allauth, which notes them
    assert not UserSession.objects.exists()
    client.get("/")
    assert UserSession.objects.get().user == ann


def test_of_a_session_that_ended_nothing_is_kept(ann_client: Client, ann: User, phone: Client):
    ann_client.get("/")
    ann_client.post("/accounts/logout/")
    assert UserSession.objects.get().session_key == phone.session.session_key
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    forget_ended()
    assert not UserSession.objects.exists()
    assert not Session.objects.exists()


def test_sessions_that_ran_out_are_forgotten_some_at_a_time_and_nobody_is_told_of_each(
    ann_client: Client, phone: Client, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks
):
    monkeypatch.setattr(sessions, "AT_ONCE", 1)
    told: list[str] = []
    monkeypatch.setattr(layer, "send", lambda group, message: told.append(group))
    Session.objects.filter(pk=phone.session.session_key).update(expire_date=timezone.now() + timedelta(days=1))
    Session.objects.filter(pk=ann_client.session.session_key).update(expire_date=timezone.now())
    Session.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1))
    with django_capture_on_commit_callbacks(execute=True):
        forget_ended()
    assert Session.objects.get().pk == phone.session.session_key
    assert told == []
    with django_capture_on_commit_callbacks(execute=True):
        Session.objects.all().delete()
    assert len(told) == 1, "of one that had not run out"


def test_of_a_session_that_goes_on_everything_is_kept(ann_client: Client, ann: User):
    forget_ended()
    assert who(ann_client) == ann
    assert UserSession.objects.get().user == ann


def test_a_session_ends_when_nobody_uses_it(ann_client: Client, settings: LazySettings):
    with time_machine.travel(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE + 60), tick=False):
        assert not who(ann_client).is_authenticated


def test_one_that_is_used_goes_on_but_not_for_ever(ann_client: Client, ann: User, settings: LazySettings):
    begin, day = timezone.now(), timedelta(days=1)
    for days in range(1, settings.SESSION_LONGEST // 86400):
        with time_machine.travel(begin + days * day, tick=False):
            cache.clear()  # locmem counts with time.time() as well; so that it is the session that is tested
            assert who(ann_client) == ann, f"after {days} days"
    with time_machine.travel(begin + timedelta(seconds=settings.SESSION_LONGEST + 60), tick=False):
        assert not who(ann_client).is_authenticated
    assert not UserSession.objects.exists()


# -- What is stored of it ---------------------------------------------------------------------------------------------


def test_keys_of_second_factors_are_sealed(ann_client: Client, turn_on: Callable):
    secret = turn_on(ann_client)
    codes = ann_client.get("/accounts/2fa/recovery-codes/").context["unused_codes"]
    stored = {factor.type: factor.data for factor in Authenticator.objects.all()}
    assert secret not in str(stored)
    assert not [code for code in codes if code in str(stored)]
    assert stored["totp"]["secret"].startswith("sealed:")
    assert stored["recovery_codes"]["seed"].startswith("sealed:")


def test_a_factor_that_cannot_be_read_any_more_opens_nothing(
    ann_client: Client, ann: User, turn_on: Callable, caplog: pytest.LogCaptureFixture
):
    """After the secret key was changed without keeping the old one; an administrator can take the factor away."""
    secret = turn_on(ann_client)
    Authenticator.objects.filter(type="totp").update(data={"secret": "sealed:nonsense"})
    ann_client.post("/accounts/logout/")
    sign_in(ann_client)
    page = ann_client.post("/accounts/2fa/authenticate/", {"code": totp(secret)})
    assert page.status_code == 200
    assert page.context["form"].errors
    assert not who(ann_client).is_authenticated
    assert f"second factor of user {ann.pk}: a stored secret cannot be read" in caplog.text


def test_recovery_codes_that_cannot_be_read_any_more_are_replaced(ann_client: Client, turn_on: Callable):
    """An administrator took the factor away, the codes stayed, and the user has set up another one since."""
    turn_on(ann_client)
    Authenticator.objects.filter(type="recovery_codes").update(data={"seed": "sealed:nonsense", "used_mask": 0})
    assert "0 are left." in ann_client.get("/accounts/2fa/").content.decode()
    pages = "/accounts/2fa/recovery-codes/"
    for page in (pages, f"{pages}download/"):
        assert ann_client.get(page)["Location"] == f"{pages}generate/"
    asked = ann_client.get(f"{pages}generate/").content.decode()
    assert "Make new recovery codes?" in asked
    assert "Those that you have now stop working." not in asked
    assert len(ann_client.post(f"{pages}generate/", follow=True).context["unused_codes"]) == 10


# -- E-mail that cannot be sent ---------------------------------------------------------------------------------------


@pytest.fixture
def no_mail(settings: LazySettings) -> None:
    """A mail server that is not there."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        settings.EMAIL_HOST, settings.EMAIL_PORT = nobody.getsockname()


@pytest.mark.parametrize("email", ["ann@example.org", "nobody@example.org"])
def test_a_mail_that_cannot_be_sent_is_said_and_the_log_names_nobody(
    client: Client, ann: User, no_mail: None, caplog: pytest.LogCaptureFixture, email: str
):
    page = client.post("/accounts/password/reset/", {"email": email}, follow=True)
    assert page.status_code == 200
    assert "An e-mail could not be sent just now" in page.content.decode()
    assert "not sent: ConnectionRefusedError" in caplog.text
    assert email not in caplog.text


def test_a_new_account_is_there_even_if_its_mail_is_not(client: Client, no_mail: None, settings: LazySettings):
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    data = {"email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD}
    page = client.post("/accounts/signup/", data, follow=True)
    assert page.status_code == 200
    assert "An e-mail could not be sent just now" in page.content.decode()
    assert User.objects.filter(email="new@example.org").exists()


# -- What a session is ------------------------------------------------------------------------------------------------


def test_a_sign_in_begins_a_session_of_its_own(client: Client, ann: User):
    """Whoever slipped somebody a session key before the sign-in knows nothing after it."""
    session = client.session
    session["planted"] = True
    session.save()
    before = session.session_key
    sign_in(client)
    after = client.session.session_key
    assert after != before
    assert not Session.objects.filter(session_key=before).exists()
    assert len(after) == 32, "of 36 letters and digits: 165 bits"


@pytest.mark.parametrize("planted", ["", "x", "0" * 32, "../../etc/passwd", "a" * 4000])
def test_a_key_that_we_did_not_make_is_nobody(ann: User, planted: str):
    client = Client()
    client.cookies["sessionid"] = planted
    assert not who(client).is_authenticated
    sign_in(client)
    assert client.session.session_key != planted


def test_after_signing_out_the_key_opens_nothing(ann_client: Client, ann: User):
    key = ann_client.session.session_key
    ann_client.post("/accounts/logout/")
    thief = Client()
    thief.cookies["sessionid"] = key
    assert not who(thief).is_authenticated
    assert thief.get("/accounts/").status_code == 302


@pytest.mark.parametrize("path", ["/", "/accounts/", "/analyses/", "/accounts/sessions/", "/accounts/tokens/"])
def test_the_way_out_is_on_every_page(ann_client: Client, path: str):
    assert 'action="/accounts/logout/"' in ann_client.get(path).content.decode()


def test_a_reset_password_ends_the_sessions_of_whoever_knew_the_old_one(ann_client: Client, ann: User):
    other = Client()
    other.post("/accounts/password/reset/", {"email": ann.email})
    form = other.get(link_in_mail(ann.email), follow=True).redirect_chain[-1][0]
    other.post(form, {"password1": NEW, "password2": NEW})
    assert not who(ann_client).is_authenticated


def test_an_account_that_is_closed_is_out_at_once(ann_client: Client, ann: User):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert not who(ann_client).is_authenticated
