"""What a user does with webhooks, on the pages and by the API; and what a stranger cannot."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts.models import User
from detection import runner, services
from detection.forms import SubmitForm
from detection.models import CallbackKey, WebhookDelivery, WebhookEndpoint
from detection.webhooks import delivery, endpoints
from tests import factories
from tests.receiver import Answer

pytestmark = pytest.mark.django_db

URL = "https://example.org/hooks?a=1"
API = "/api/v1/webhooks/"
PAGES = "/accounts/webhooks/"


def add(client: Client, **body: object):
    return client.post(API, json.dumps(body), content_type="application/json")


# -- By the API -------------------------------------------------------------------------------------------------------


def test_a_webhook_from_its_beginning_to_its_end(owner_client: Client):
    made = add(owner_client, url=URL)
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    webhook = made.json()
    assert webhook["secret"].startswith("whsec_")
    assert webhook["events"] == ["analysis.completed", "analysis.failed", "analysis.cancelled", "analysis.reviewed"]
    one = f"{API}{webhook['id']}/"
    assert owner_client.get(API).json() == [owner_client.get(one).json()]
    assert "secret" not in owner_client.get(one).json()
    paused = owner_client.post(f"{one}pause/").json()
    assert (paused["paused"], paused["pause_reason"]) == (True, "user")
    assert owner_client.post(f"{one}resume/").json()["paused"] is False
    rotated = owner_client.post(f"{one}rotate/").json()["secret"]
    assert rotated == WebhookEndpoint.objects.get().secret != webhook["secret"]
    assert owner_client.delete(one).status_code == 204
    assert owner_client.get(one).status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"url": URL, "events": []}, "invalid_request"),
        ({"url": URL, "events": ["analysis.exploded"]}, "invalid_request"),
        ({"url": "http://127.0.0.1:8000/"}, "invalid_webhook_url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "invalid_webhook_url"),
        ({"url": "ftp://example.org/"}, "invalid_webhook_url"),
    ],
)
def test_what_is_no_webhook_is_refused(owner_client: Client, body, code):
    answer = add(owner_client, **body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert "ErrorDetail" not in answer.json()["detail"]


def test_ten_are_enough(owner_client: Client, owner: User):
    for number in range(endpoints.MOST_ENDPOINTS):
        endpoints.create(user=owner, url=f"https://example.org/{number}", events=["analysis.failed"])
    assert add(owner_client, url=URL).json()["code"] == "conflict"


def test_a_callback_address_comes_with_the_upload_and_keeps_the_same_rules():
    file = {"file": factories.uploaded()}
    form = SubmitForm({"callback_url": URL}, file)
    assert form.is_valid()
    assert form.cleaned_data["callback_url"] == URL
    refused = SubmitForm({"callback_url": "http://169.254.169.254/"}, {"file": factories.uploaded()})
    assert not refused.is_valid()
    assert refused.first_error()[0] == "invalid_webhook_url"
    with pytest.raises(ValidationError):
        form.fields["callback_url"].clean("nonsense")


def test_an_upload_that_was_answered_before_still_calls_back(owner_client: Client, owner: User, committed):
    def send(**fields: str):
        return owner_client.post("/api/v1/analyses/", {"file": factories.uploaded(), **fields})

    with committed():
        runner.run(UUID(send().json()["id"]))
        answer = send(callback_url=URL)
    assert (answer.status_code, answer.json()["reused"]) == (200, True)
    (row,) = WebhookDelivery.objects.all()
    assert (row.url, row.endpoint, str(row.event.analysis_id)) == (URL, None, answer.json()["id"])


def test_the_callback_secret_is_shown_once_and_changes_when_asked_for_again(owner_client: Client):
    first = owner_client.post(f"{API}callback-secret/").json()["secret"]
    second = owner_client.post(f"{API}callback-secret/").json()["secret"]
    assert CallbackKey.objects.get().secrets(timezone.now()) == [second, first]


def test_the_log_and_sending_again(owner_client: Client, owner: User, webhook, receiver):
    analysis = factories.make_analysis(owner, callback_url=receiver.url)
    services.cancel(analysis=analysis)
    for row in WebhookDelivery.objects.all():
        delivery.attempt(row.pk)
    log = owner_client.get(f"{API}deliveries/").json()["results"]
    assert {row["webhook"] for row in log} == {str(webhook.pk), None}
    assert {(row["analysis"], row["status"], row["answer_code"]) for row in log} == {
        (str(analysis.pk), "delivered", 200)
    }
    again = owner_client.post(f"{API}deliveries/{log[0]['id']}/redeliver/")
    assert (again.status_code, again.json()["event_id"]) == (202, log[0]["event_id"])
    refused = owner_client.post(f"{API}deliveries/{again.json()['id']}/redeliver/")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    twice = owner_client.post(f"{API}deliveries/{log[0]['id']}/redeliver/")
    assert (twice.status_code, twice.json()["code"]) == (409, "conflict")
    assert WebhookDelivery.objects.filter(status="pending").count() == 1


def test_sending_again_is_limited_like_uploads(owner_client: Client, owner: User, webhook, receiver, settings):
    cache.clear()
    none = {"user": None, "address": None}
    settings.RATE_LIMITS = {"uploads": {"user": "1/d", "address": None}, "requests": none}
    services.cancel(analysis=factories.make_analysis(owner))
    row = WebhookDelivery.objects.get()
    delivery.attempt(row.pk)
    assert owner_client.post(f"{API}deliveries/{row.pk}/redeliver/").status_code == 202
    refused = owner_client.post(f"{API}deliveries/{row.pk}/redeliver/")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    page = owner_client.post(f"{PAGES}deliveries/{row.pk}/redeliver/", follow=True)
    assert "too much at once" in page.content.decode()


# -- On the pages -----------------------------------------------------------------------------------------------------


def test_adding_one_shows_its_secret_once(owner_client: Client):
    events = ["analysis.completed", "analysis.failed"]
    page = owner_client.post(PAGES, {"url": URL, "events": events}, follow=True)
    webhook = WebhookEndpoint.objects.get()
    assert page.redirect_chain == [(webhook.get_absolute_url(), 302)]
    assert webhook.secret in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert webhook.secret not in owner_client.get(webhook.get_absolute_url()).content.decode()
    assert URL in owner_client.get(PAGES).content.decode()


def test_a_private_address_is_refused_in_the_form(owner_client: Client):
    page = owner_client.post(PAGES, {"url": "http://2130706433/", "events": ["analysis.failed"]})
    assert page.status_code == 400
    assert "private network" in page.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_pausing_resuming_a_new_secret_and_deleting(owner_client: Client, webhook):
    one = webhook.get_absolute_url()
    assert "You paused it." in owner_client.post(f"{one}pause/", follow=True).content.decode()
    assert "You paused it." not in owner_client.post(f"{one}resume/", follow=True).content.decode()
    old = webhook.secret
    page = owner_client.post(f"{one}rotate/", follow=True).content.decode()
    webhook.refresh_from_db()
    assert webhook.secret in page
    assert webhook.secret != old
    assert "Delete this webhook?" in owner_client.get(f"{one}delete/").content.decode()
    owner_client.post(f"{one}delete/")
    assert not WebhookEndpoint.objects.exists()


def test_a_new_callback_secret_is_shown_once(owner_client: Client, owner: User):
    page = owner_client.post(f"{PAGES}callback-secret/", follow=True).content.decode()
    assert owner.callback_key.secret in page
    assert owner.callback_key.secret not in owner_client.get(PAGES).content.decode()


def test_the_log_says_what_happened_and_sends_again(owner_client: Client, owner: User, webhook, receiver):
    receiver.answers = [Answer(503, b"<b>closed</b>")]
    services.cancel(analysis=factories.make_analysis(owner))
    row = WebhookDelivery.objects.get()
    delivery.attempt(row.pk)
    page = owner_client.get(webhook.get_absolute_url()).content.decode()
    for said in (
        "Analysis cancelled",
        "1 attempt",
        "answered 503",
        "next try",
        "&lt;b&gt;closed&lt;/b&gt;",
        "face.jpg",
    ):
        assert said in page
    assert "redeliver" not in page
    WebhookDelivery.objects.update(status="failed", next_try_at=None)
    everything = f"{PAGES}deliveries/"
    page = owner_client.get(everything).content.decode()
    assert receiver.url in page
    (address,) = re.findall(r'action="([^"]+/redeliver/)"', page)
    assert "sent once more" in owner_client.post(address, follow=True).content.decode()
    assert WebhookDelivery.objects.filter(event=row.event).count() == 2


def test_the_pages_take_few_queries_however_long_the_log_is(
    owner_client: Client, owner: User, webhook, django_assert_max_num_queries
):
    for _ in range(5):
        services.cancel(analysis=factories.make_analysis(owner))
    with django_assert_max_num_queries(6):
        owner_client.get(f"{PAGES}deliveries/")


# -- A stranger -------------------------------------------------------------------------------------------------------


def test_to_a_stranger_it_does_not_exist(client: Client, owner: User, stranger: User, webhook):
    services.cancel(analysis=factories.make_analysis(owner))
    row = WebhookDelivery.objects.get()
    client.force_login(stranger)
    for place in (f"{API}{webhook.pk}/", webhook.get_absolute_url(), f"{webhook.get_absolute_url()}delete/"):
        assert client.get(place).status_code == 404
        assert client.get(place.replace(str(webhook.pk), str(uuid4()))).status_code == 404
    assert client.delete(f"{API}{webhook.pk}/").status_code == 404
    for verb in ("pause", "resume", "rotate"):
        assert client.post(f"{API}{webhook.pk}/{verb}/").status_code == 404
        assert client.post(f"{webhook.get_absolute_url()}{verb}/").status_code == 404
    assert client.post(f"{webhook.get_absolute_url()}delete/").status_code == 404
    assert client.post(f"{API}deliveries/{row.pk}/redeliver/").status_code == 404
    assert client.post(f"{PAGES}deliveries/{row.pk}/redeliver/").status_code == 404
    assert client.get(API).json() == []
    assert client.get(f"{API}deliveries/").json()["results"] == []
    assert str(row.pk) not in client.get(f"{PAGES}deliveries/").content.decode()
    assert webhook.secrets(timezone.now() + timedelta(0)) == [WebhookEndpoint.objects.get().secret]


def test_nobody_who_is_not_signed_in_gets_anything(client: Client, webhook):
    assert client.get(API).status_code == 401
    for page in (PAGES, f"{PAGES}deliveries/", webhook.get_absolute_url()):
        assert client.get(page).status_code == 302
