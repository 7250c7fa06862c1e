"""How much is too much: on the page, in the API and at /predict alike."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.db import connections
from django.test import Client

from accounts import tokens
from accounts.models import User
from detection import limits, quota, services, validators
from detection.models import Analysis, DailyUse, Upload
from detection.problems import Refused
from tests import factories

pytestmark = pytest.mark.django_db
LIST = "/api/v1/analyses/"
JSON = {"Accept": "application/json"}
# A day's window: a minute's could end in the middle of a test.
NONE = {"user": None, "address": None}


@pytest.fixture(autouse=True)
def _fresh_counters():
    cache.clear()


@pytest.fixture
def five_uploads(settings: LazySettings) -> None:
    settings.RATE_LIMITS = {"uploads": {"user": "5/d", "address": "12/d"}, "requests": NONE}


def client_of(user: User, address: str = "192.0.2.1") -> Client:
    client = Client(REMOTE_ADDR=address)
    client.force_login(user)
    return client


def send(client: Client, path: str = LIST, **options):
    return client.post(path, {"file": factories.uploaded(), "force": "true"}, **options)


def test_the_default_is_five_a_minute():
    """Tests run without limits, so the code's own default is asked for in a process of its own."""
    from config.env import Environment

    assert Environment({}).rate("VERIFRAME_LIMIT_UPLOADS", "5/m", "") == "5/m"
    from config.settings import env

    (variable,) = [v for v in env.variables if v.name == "VERIFRAME_LIMIT_UPLOADS"]
    assert variable.default == "5/m"


@pytest.mark.usefixtures("five_uploads")
@pytest.mark.parametrize("path", [LIST, "/predict", "/upload/"])
def test_the_sixth_upload_is_refused_everywhere_with_when_to_come_back(owner: User, path: str, settings: LazySettings):
    settings.PREDICT_SECONDS = 0
    client = client_of(owner)
    for left in (4, 3, 2, 1, 0):
        taken = send(client, path, headers=JSON)
        assert taken.status_code == 202
        assert (taken["X-RateLimit-Limit"], taken["X-RateLimit-Remaining"]) == ("5", str(left))
    refused = send(client, path, headers=JSON)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused["Content-Type"] == "application/problem+json"
    assert 0 < int(refused["Retry-After"]) <= 24 * 3600
    assert refused["X-RateLimit-Remaining"] == "0"
    assert int(refused["X-RateLimit-Reset"]) == int(refused["Retry-After"])
    assert Analysis.objects.count() == 5
    for other in {LIST, "/predict", "/upload/"} - {path}:
        assert send(client, other, headers=JSON).status_code == 429, "one limit, whichever door"


@pytest.mark.usefixtures("five_uploads")
def test_on_the_page_it_is_said_where_the_file_was_chosen(owner: User):
    client = client_of(owner)
    for _ in range(5):
        assert send(client, "/upload/").status_code == 302
    page = send(client, "/upload/")
    assert (page.status_code, "too much at once" in page.content.decode()) == (429, True)
    assert page["Retry-After"]
    assert "detection/upload.html" in [template.name for template in page.templates]
    sample = client.post("/samples/astronaut.jpg", follow=True)
    assert "too much at once" in sample.content.decode()
    assert Upload.objects.count() == 5


@pytest.mark.usefixtures("five_uploads")
def test_several_files_in_one_form_are_several_uploads(owner: User):
    client = client_of(owner)
    three = {"file": [factories.uploaded(f"{n}.jpg") for n in range(3)]}
    assert client.post("/upload/", three).status_code == 302
    assert client.post("/upload/", {"file": [factories.uploaded() for _ in range(3)]}).status_code == 429
    assert Upload.objects.count() == 3, "none is taken if all cannot be"
    assert client.post("/upload/", {"file": [factories.uploaded() for _ in range(2)]}).status_code == 302


@pytest.mark.usefixtures("five_uploads")
def test_a_batch_larger_than_the_limit_takes_the_whole_of_it(owner: User):
    client = client_of(owner)
    assert client.post("/upload/", {"file": [factories.uploaded(f"{n}.jpg") for n in range(7)]}).status_code == 302
    assert Upload.objects.count() == 7
    assert send(client).status_code == 429


@pytest.mark.usefixtures("five_uploads")
def test_a_user_is_one_by_session_and_by_token_and_from_anywhere(owner: User, stranger: User):
    _token, key = tokens.issue(user=owner, name="x", lifetime=None)
    program = Client(headers={"Authorization": f"Token {key}"}, REMOTE_ADDR="198.51.100.7")
    browser = client_of(owner)
    answers = [send(client).status_code for client in (program, browser) * 3]
    assert answers == [202] * 5 + [429]
    assert send(client_of(stranger)).status_code == 202


@pytest.mark.usefixtures("five_uploads")
def test_many_users_at_one_address_have_a_limit_together():
    answers = [send(client_of(factories.make_user())).status_code for _ in range(13)]
    assert answers == [202] * 12 + [429]
    assert send(client_of(factories.make_user(), "192.0.2.99")).status_code == 202


@pytest.mark.usefixtures("five_uploads")
def test_running_again_counts_as_well(owner: User):
    client = client_of(owner)
    analyses = [factories.make_analysis(owner, status="failed") for _ in range(7)]
    for analysis in analyses[:3]:
        assert client.post(f"{LIST}{analysis.pk}/retry/").status_code == 202
    client.post(f"/analyses/{analyses[3].pk}/retry/")
    client.post("/analyses/bulk/", {"action": "retry", "analysis": [str(analyses[4].pk), str(analyses[5].pk)]})
    assert Analysis.objects.filter(status="queued").count() == 4, "two more would be one too many"
    client.post("/analyses/bulk/", {"action": "retry", "analysis": [str(analyses[4].pk)]})
    answer = client.post(f"/analyses/{analyses[6].pk}/retry/", headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert Analysis.objects.filter(status="queued").count() == 5


def test_reading_has_a_limit_of_its_own(owner: User, settings: LazySettings):
    settings.RATE_LIMITS = {"uploads": NONE, "requests": {"user": "3/d", "address": "5/d"}}
    client = client_of(owner)
    assert [client.get(path).status_code for path in ("/", LIST, "/model/", "/analyses/")] == [200, 200, 200, 429]
    page = client.get("/analyses/")
    assert "429.html" in [template.name for template in page.templates]
    assert page["Retry-After"]
    refused = client.get(LIST)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert client.get("/health/").status_code == client.get("/ready/").status_code == 200, "watchers are let through"


def test_requests_with_a_token_are_counted_for_its_user(owner: User, settings: LazySettings):
    settings.RATE_LIMITS = {"uploads": NONE, "requests": {"user": "2/d", "address": None}}
    _token, key = tokens.issue(user=owner, name="x", lifetime=None)
    program = Client(headers={"Authorization": f"Token {key}"})
    assert [program.get(LIST).status_code for _ in range(3)] == [200, 200, 429]


def test_guessing_tokens_is_limited_by_address(settings: LazySettings):
    settings.RATE_LIMITS = {"uploads": NONE, "requests": {"user": None, "address": "3/d"}}
    guess = Client(headers={"Authorization": "Token vf_guess"})
    assert [guess.get(LIST).status_code for _ in range(4)] == [401, 401, 401, 429]


def test_the_address_is_the_one_that_the_trusted_proxy_says(rf, settings: LazySettings):
    request = rf.get("/", headers={"X-Forwarded-For": "203.0.113.5, 192.0.2.8"}, REMOTE_ADDR="10.0.0.1")
    assert limits.client_address(request) == "10.0.0.1", "nobody is believed by default"
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    assert limits.client_address(request) == "192.0.2.8"
    assert limits.client_address(rf.get("/", REMOTE_ADDR="")) == "127.0.0.1"
    assert limits.client_address(rf.get("/")) == "127.0.0.1", "past the proxy, which should have been there"


def test_without_its_cache_the_site_goes_on(owner: User, settings: LazySettings, monkeypatch):
    from redis.exceptions import ConnectionError as RedisAway

    def away(*args, **kwargs):
        raise RedisAway("no Redis")

    settings.RATE_LIMITS = {"uploads": {"user": "1/d", "address": "1/d"}, "requests": {"user": "1/d", "address": "1/d"}}
    monkeypatch.setattr(limits, "get_usage", away)
    assert [send(client_of(owner)).status_code for _ in range(2)] == [202, 202]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("five_uploads")
def test_many_at_once_do_not_slip_through(owner: User):
    def post(number: int) -> int:
        try:
            return send(client_of(owner)).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(12)))
    assert sorted(answers) == [202] * 5 + [429] * 7
    assert Analysis.objects.count() == 5


# -- The day's quota --------------------------------------------------------------------------------------------------


def test_the_quota_counts_what_was_begun_not_what_is_left(owner: User, settings: LazySettings):
    settings.DAILY_QUOTA = 3
    client = client_of(owner)
    first = send(client).json()["id"]
    assert client.delete(f"{LIST}{first}/").status_code == 204
    second = send(client).json()["id"]
    Analysis.objects.update(status="failed")
    assert client.post(f"{LIST}{second}/retry/").status_code == 202
    refused = send(client)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert 0 < int(refused["Retry-After"]) <= 24 * 3600
    today = client.get("/api/v1/usage/").json()["today"]
    assert (today["analyses"], today["limit"], today["remaining"]) == (3, 3, 0)
    Analysis.objects.update(status="failed")
    page = client.post("/analyses/bulk/", {"action": "retry", "analysis": [second]}, follow=True)
    assert "as many as one may begin" in page.content.decode()
    page = send(client, "/upload/")
    assert (page.status_code, "as many as one may begin" in page.content.decode()) == (429, True)


def test_the_next_day_is_another_day(owner: User, settings: LazySettings):
    settings.DAILY_QUOTA = 1
    client = client_of(owner)
    send(client)
    assert send(client).status_code == 429
    DailyUse.objects.update(day=date(2020, 1, 1))
    assert send(client).status_code == 202
    services.sweep()
    assert DailyUse.objects.count() == 1


def test_without_a_quota_it_is_counted_all_the_same(owner: User, settings: LazySettings):
    settings.DAILY_QUOTA = 0
    client = client_of(owner)
    assert [send(client).status_code for _ in range(3)] == [202] * 3
    today = client.get("/api/v1/usage/").json()["today"]
    assert (today["analyses"], today["limit"], today["remaining"]) == (3, None, None)


def test_an_upload_that_fails_costs_nothing(owner: User, monkeypatch):
    def broken(**fields):
        raise RuntimeError("database is gone")

    monkeypatch.setattr(Analysis.objects, "create", broken)
    with pytest.raises(RuntimeError, match="gone"):
        services.submit(user=owner, upload=validators.accept(factories.uploaded()))
    assert quota.used_today(owner) == 0


@pytest.mark.django_db(transaction=True)
def test_the_last_place_goes_to_one(owner: User, settings: LazySettings):
    settings.DAILY_QUOTA = 1

    def spend(number: int) -> bool:
        try:
            quota.spend(owner)
        except Refused:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(spend, range(4))) == [False, False, False, True]
