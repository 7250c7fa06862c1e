"""The log names nobody: main flows with recognisable words, each of which is looked for afterwards.

What our own code writes must be clean by itself; what others write (a database's refusal, an exception's text) is
cleaned on its way out by ``config.redaction``, which every handler of the site goes through.
"""

from __future__ import annotations

import logging
from ipaddress import ip_network

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.models import User
from config.redaction import redact
from detection import runner, services
from detection.engine.errors import EngineError, ErrorCode
from detection.models import Analysis, WebhookDelivery
from detection.privacy import erasure
from detection.webhooks import delivery
from tests import factories
from tests.accounts.conftest import link_in_mail, sign_in, totp
from tests.fakes import FakePipeline
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

EMAIL = "quetzal.marker@zanzibar-mail.example"
PASSWORD, NEW, WRONG = "ocelot-password 7", "ocelot-password 8", "ocelot-guess 9"
FILE, REASON, CASE = "axolotl at the wedding.jpg", "capybara stands beside me", "okapi-case-7"
ADDRESS, BROWSER = "198.51.100.77", "Kakapo/3.1"


@pytest.fixture(autouse=True)
def _everything_that_a_site_can_log(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("detection", "accounts", "config"):  # what VERIFRAME_LOG_LEVEL=DEBUG turns on
        caplog.set_level(logging.DEBUG, logger=name)
    caplog.set_level(logging.INFO, logger="django")


class Story:
    """Somebody uses the site. ``words`` is what the log must not say; keys join it as they are made."""

    def __init__(self) -> None:
        self.client = Client(headers={"user-agent": BROWSER}, REMOTE_ADDR=ADDRESS, raise_request_exception=False)
        self.words = {*EMAIL.split("@"), PASSWORD, NEW, WRONG, "axolotl", "capybara", CASE, ADDRESS, "Kakapo"}

    @property
    def user(self) -> User:
        return User.objects.get(email=EMAIL)

    def signs_up(self) -> None:
        self.client.post("/accounts/signup/", {"email": EMAIL, "password1": PASSWORD, "password2": PASSWORD})
        EmailAddress.objects.filter(email=EMAIL).update(verified=True)
        self.words.add(self.client.session.session_key)

    def mistypes_and_forgets_the_password(self) -> None:
        other = Client(raise_request_exception=False)
        sign_in(other, EMAIL, WRONG)
        other.post("/accounts/password/reset/", {"email": EMAIL})
        link = link_in_mail(EMAIL)
        self.words.add(link.rstrip("/").rpartition("/")[2])
        form = other.get(link, follow=True).redirect_chain[-1][0]
        other.post(form, {"password1": "short", "password2": WRONG})
        Client(enforce_csrf_checks=True).post(link)
        other.get(f"/accounts/?email={EMAIL}")
        other.get(f"/nowhere/?q={FILE}")

    def sets_up_a_second_factor(self) -> None:
        path = "/accounts/2fa/totp/activate/"
        self.client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        secret = self.client.get(path).context["form"].secret
        self.client.post(path, {"code": totp(secret)})
        self.words.add(secret)

    def makes_a_token(self) -> Client:
        page = self.client.post("/accounts/tokens/", {"name": "numbat", "days": "7"})
        key = page.context["key"]
        self.words |= {key, key[:12], "numbat"}
        Client(headers={"authorization": f"Token {key[:-1]}x"}).get("/api/v1/me/")
        return Client(headers={"authorization": f"Token {key}"}, raise_request_exception=False)

    def sends_files(self, program: Client) -> Analysis:
        self.client.post("/upload/", {"file": factories.uploaded(FILE, b"no picture")})
        self.client.post("/upload/", {"file": SimpleUploadedFile("axolotl.svg", b"<svg/>")})
        sent = program.post("/api/v1/analyses/", {"file": factories.uploaded(FILE), "external_id": CASE})
        assert sent.status_code == 202, sent.content
        program.post("/api/v1/analyses/", {"file": factories.uploaded(FILE), "external_id": CASE})
        return Analysis.objects.earliest("created_at")

    def reads_and_objects(self, analysis: Analysis) -> None:
        for path in ("", "report.pdf", "report.json"):
            assert self.client.get(f"/api/v1/analyses/{analysis.pk}/{path}").status_code == 200
        self.client.get(f"/analyses/?q={FILE}")
        self.client.head(f"/media/{analysis.pk}/source")
        self.client.post(f"/analyses/{analysis.pk}/dispute/", {"category": "other", "reason": REASON})


def fails(error: Exception) -> FakePipeline:
    def raises(frame: int) -> None:
        raise error

    return FakePipeline(between=raises)


def hears(story: Story, receiver: Receiver) -> None:
    """A webhook of somebody's, which answers with what it was sent."""
    answer = story.client.post("/api/v1/webhooks/", {"url": f"{receiver.url}/capybara"}, "application/json")
    story.words.add(answer.json()["secret"])
    receiver.answers[:] = [Answer(500, b"axolotl: " + EMAIL.encode())]


def check(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    ours = [r for r in caplog.records if r.name.startswith(("detection", "accounts", "config")) and not r.exc_info]
    assert len(ours) > 5, "something was logged"
    written = redact(caplog.text)
    for word in story.words:
        assert word not in written, word
        assert not [r.getMessage() for r in ours if word in r.getMessage()], word


def test_somebody_uses_the_site(
    caplog: pytest.LogCaptureFixture,
    settings: LazySettings,
    django_capture_on_commit_callbacks,
    monkeypatch: pytest.MonkeyPatch,
):
    settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.1/32")]
    story = Story()
    with Receiver() as receiver:
        story.signs_up()
        story.mistypes_and_forgets_the_password()
        story.sets_up_a_second_factor()
        hears(story, receiver)
        analysis = story.sends_files(story.makes_a_token())
        runner.run(analysis.pk, engine=FakePipeline())
        for row in WebhookDelivery.objects.all():
            delivery.attempt(row.pk)
        assert receiver.received
        story.reads_and_objects(analysis)
        for error in (EngineError(ErrorCode.UNREADABLE_MEDIA, "damaged"), RuntimeError(f"no room for {EMAIL}")):
            Analysis.objects.update(status="queued", attempts=0)
            runner.run(analysis.pk, engine=fails(error))
        monkeypatch.setattr(services, "retry", _breaks)
        assert story.client.post(f"/analyses/{analysis.pk}/retry/").status_code == 500
        erasure.erase(user=story.user)
    assert caplog.text.count("RuntimeError") >= 2
    assert mail.outbox
    check(story, caplog)


def _breaks(**kwargs: object) -> None:
    raise RuntimeError(f"no room for {EMAIL} at postgresql://site:{PASSWORD.replace(' ', '')}@db/site")
