"""The account page, and what is chosen there."""

from __future__ import annotations

import smtplib
import traceback

import pytest
from django.conf import LazySettings
from django.core import mail
from django.test import Client
from django.utils import translation

from accounts import mails
from accounts.models import User
from accounts.templatetags.browsers import browser
from tests.accounts.conftest import link_in_mail

pytestmark = pytest.mark.django_db

HOME = "/accounts/"
CHOICES = {"language": "", "theme": "auto", "notify_reviews": "on"}


def test_a_visitor_is_led_to_the_sign_in(client: Client):
    assert client.get(HOME)["Location"].startswith("/accounts/login/")


def test_the_page_leads_everywhere(ann_client: Client, ann: User):
    page = ann_client.get(HOME).content.decode()
    for path in ("email", "password/change", "2fa", "sessions", "tokens", "webhooks", "data", "delete"):
        assert f'href="/accounts/{path}/"' in page, path
    assert ann.email in page
    assert "1 browser" in page


def test_by_default_only_reviews_are_told(ann: User):
    assert (ann.notify_reviews, ann.notify_analyses) == (True, False)


def test_a_theme_is_kept_for_the_user_and_shown_on_every_page(ann_client: Client, ann: User):
    assert "data-theme" not in ann_client.get("/").content.decode()
    ann_client.post(HOME, {**CHOICES, "theme": "dark"})
    ann.refresh_from_db()
    assert ann.theme == User.Theme.DARK
    assert 'data-theme="dark"' in ann_client.get("/").content.decode()
    assert "data-theme" not in Client().get("/").content.decode()


def test_nonsense_is_refused_and_changes_nothing(ann_client: Client, ann: User):
    assert ann_client.post(HOME, {**CHOICES, "theme": "mauve"}).status_code == 400
    ann.refresh_from_db()
    assert ann.theme == User.Theme.AUTO


def test_the_language_goes_along_to_other_devices(ann_client: Client, ann: User):
    ann_client.post("/language/", {"language": "de", "next": "/"})
    other = Client()
    other.force_login(ann)
    page = other.get("/", headers={"accept-language": "en"})
    assert page["Content-Language"] == "de"
    assert '<html lang="de"' in page.content.decode()


def test_the_browser_can_be_asked_again(ann_client: Client, ann: User):
    ann_client.post("/language/", {"language": "de", "next": "/"})
    ann_client.post(HOME, CHOICES)
    assert ann_client.get("/", headers={"accept-language": "en"})["Content-Language"] == "en"
    assert ann_client.get("/", headers={"accept-language": "de"})["Content-Language"] == "de"


def test_what_is_chosen_here_is_answered_in_the_new_language(ann_client: Client, ann: User):
    page = ann_client.post(HOME, {**CHOICES, "language": "de"}, follow=True).content.decode()
    assert "Gespeichert." in page
    assert '<html lang="de">' in page


def test_a_visitors_switch_is_a_cookie_as_before(client: Client):
    client.post("/language/", {"language": "de", "next": "/"})
    assert client.get("/")["Content-Language"] == "de"
    assert not User.objects.exists()


def test_a_language_that_is_not_offered_is_ignored(ann_client: Client, ann: User):
    ann_client.post("/language/", {"language": "fr", "next": "/"})
    ann.refresh_from_db()
    assert ann.language == ""


def test_who_signs_up_in_german_is_written_to_in_german(client: Client):
    password = "a quiet river 7"
    data = {"email": "neu@example.org", "password1": password, "password2": password}
    client.post("/accounts/signup/", data, headers={"accept-language": "de"})
    user = User.objects.get()
    assert user.language == "de"
    mails.send(user, "account_deleted", {})
    assert "gelöscht" in mail.outbox[-1].subject


def test_e_mail_is_plain_text_with_links_only_where_the_site_knows_its_address(ann: User, settings: LazySettings):
    mails.send(ann, "analysis_ended", {"name": "a&b.jpg", "verdict": "x", "url": mails.address_of("/analyses/1/")})
    assert "a&b.jpg" in mail.outbox[-1].subject
    assert "/analyses/1/" not in mail.outbox[-1].body
    settings.SITE_URL = "https://example.org/"
    mails.send(ann, "analysis_ended", {"name": "a.jpg", "verdict": "x", "url": mails.address_of("/analyses/1/")})
    assert "https://example.org/analyses/1/" in mail.outbox[-1].body
    assert mail.outbox[-1].content_subtype == "plain"
    assert mail.outbox[-1].alternatives == []


def test_it_says_that_nothing_is_sent_to_an_address_that_is_not_confirmed(ann_client: Client, ann: User):
    words = "None of these e-mails is sent before your address is confirmed."
    assert words in ann_client.get(HOME).content.decode()
    assert "Send the link again" in ann_client.get("/accounts/email/").content.decode()
    ann_client.post("/accounts/email/", {"email": ann.email, "action_send": ""})
    ann_client.post(link_in_mail(ann.email))
    assert words not in ann_client.get(HOME).content.decode()


def test_an_error_of_the_mail_server_is_told_without_the_address(
    ann: User, monkeypatch: pytest.MonkeyPatch, settings: LazySettings
):
    """It goes into logs, from here and, with all that caused it, from the queue."""
    assert settings.EMAIL_TIMEOUT == 10

    def refuse(*_arguments: object) -> None:
        raise smtplib.SMTPRecipientsRefused({ann.email: (550, b"no such user")})

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    with pytest.raises(mails.NotSent) as caught:
        mails.send(ann, "account_deleted", {})
    assert str(caught.value) == "SMTPRecipientsRefused"
    assert ann.email not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0", "Firefox, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/141.0.0.0 Safari/537.36 Edg/141.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) Version/18.6 Safari/604.1", "Safari, iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_are_called_what_people_call_them(user_agent: str, words: str):
    with translation.override("en"):
        assert browser(user_agent) == words
