"""API tokens: made on the profile page and by API, shown once, kept as a hash, used, expired, revoked."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from allauth.account import app_settings
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.utils import timezone

from accounts import middleware, tokens
from accounts.models import ApiToken, User
from accounts.sessions import SIGNED_IN
from tests.accounts.conftest import link_in_mail, sign_in
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db
PAGE, ME, TOKENS = "/accounts/tokens/", "/api/v1/me/", "/api/v1/tokens/"


@pytest.fixture
def ann(db: None) -> User:
    return make_user("ann@example.org")


@pytest.fixture
def browser(client: Client, ann: User) -> Client:
    client.force_login(ann)
    return client


def with_token(key: str) -> Client:
    return Client(headers={"Authorization": f"Token {key}"})


def issue(user: User, *, days: float | None = None, maker: ApiToken | None = None) -> tuple[ApiToken, str]:
    lifetime = None if days is None else timedelta(days=days)
    return tokens.issue(user=user, name="script", lifetime=lifetime, maker=maker)


def test_a_token_is_made_on_the_page_and_shown_once(browser: Client, ann: User):
    page = browser.post(PAGE, {"name": "nightly job", "days": "30"})
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    key = re.search(r'<output[^>]*class="token-key">(vf_[0-9a-f]{64})</output>', page.content.decode())[1]
    assert with_token(key).get(ME).json()["email"] == ann.email
    token = ApiToken.objects.get()
    assert (token.user, token.name) == (ann, "nightly job")
    assert timedelta(days=29) < token.expiry - timezone.now() < timedelta(days=31)
    again = browser.get(PAGE).content.decode()
    assert key not in again
    assert "nightly job" in again


def test_what_is_stored_is_not_the_key(ann: User):
    _token, key = issue(ann)
    (row,) = ApiToken.objects.values()
    assert all(key not in str(value) and key[20:] not in str(value) for value in row.values())


def test_a_nameless_token_is_not_made(browser: Client):
    page = browser.post(PAGE, {"name": "", "days": "30"})
    assert page.status_code == 400
    assert not ApiToken.objects.exists()


def test_revoking_on_the_page_asks_first_and_works_at_once(browser: Client, ann: User):
    token, key = issue(ann)
    _other, other_key = issue(ann)
    path = f"{PAGE}{token.public_id}/revoke/"
    assert browser.get(path).status_code == 200
    assert with_token(key).get(ME).status_code == 200
    assert browser.post(path)["Location"] == PAGE
    assert with_token(key).get(ME).status_code == 401
    assert with_token(other_key).get(ME).status_code == 200


def test_tokens_by_api(browser: Client, ann: User):
    made = browser.post(TOKENS, {"name": "ci", "expires_in_days": 7}, content_type="application/json")
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    program = with_token(made.json()["key"])
    (listed,) = program.get(TOKENS).json()
    assert "key" not in listed
    assert (listed["id"], listed["name"]) == (made.json()["id"], "ci")
    assert made.json()["key"].startswith(listed["start"])
    assert program.get(ME).json()["token"]["id"] == listed["id"]
    assert browser.get(ME).json()["token"] is None
    assert program.delete(f"{TOKENS}{listed['id']}/").status_code == 204
    assert program.get(ME).status_code == 401


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x", "expires_in_days": 0}, {"name": "x" * 101}])
def test_a_token_that_makes_no_sense(browser: Client, body: dict):
    answer = browser.post(TOKENS, body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_an_expired_token_is_refused(ann: User):
    _token, key = issue(ann, days=-1)
    answer = with_token(key).get(ME)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


@pytest.mark.parametrize("header", ["Token", "Token x", "Token a b", "Token ÿ", "Token " + "0" * 5000])
def test_a_token_that_is_none(client: Client, header: str):
    answer = client.get(ME, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


def test_the_token_of_somebody_who_was_shut_out(ann: User):
    _token, key = issue(ann)
    User.objects.update(is_active=False)
    assert with_token(key).get(ME).status_code == 401


def test_last_use_is_noted_but_not_at_every_request(ann: User, django_assert_num_queries):
    token, key = issue(ann)
    assert token.last_used is None
    with_token(key).get(ME)
    token.refresh_from_db()
    first = token.last_used
    assert timezone.now() - first < timedelta(minutes=1)
    with_token(key).get(ME)
    token.refresh_from_db()
    assert token.last_used == first
    ApiToken.objects.update(last_used=first - timedelta(hours=1))
    with_token(key).get(ME)
    token.refresh_from_db()
    assert token.last_used > first - timedelta(minutes=1)


def test_what_a_token_makes_does_not_outlive_it(ann: User):
    maker, key = issue(ann, days=1)
    made = with_token(key).post(TOKENS, {"name": "x", "expires_in_days": None}, content_type="application/json")
    assert ApiToken.objects.get(public_id=made.json()["id"]).expiry <= maker.expiry


def test_there_is_an_end_to_tokens(browser: Client, ann: User, monkeypatch):
    monkeypatch.setattr(tokens, "MOST_TOKENS", 1)
    issue(ann)
    assert browser.post(PAGE, {"name": "one more", "days": "7"}).status_code == 400
    answer = browser.post(TOKENS, {"name": "one more"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert ApiToken.objects.count() == 1


def left_open(client: Client) -> None:
    """As if the last proof of who sits there were older than allauth believes."""
    session = client.session
    session[SIGNED_IN] -= app_settings.REAUTHENTICATION_TIMEOUT + 1
    session.save()


def test_whoever_finds_an_open_browser_makes_no_token(browser: Client, ann: User):
    left_open(browser)
    wanted = {"name": "mine now", "days": "0"}
    answer = browser.post(PAGE, wanted)
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    refused = browser.post(TOKENS, {"name": "mine now"}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    assert "Sign in again" in refused.json()["detail"]
    assert browser.get(PAGE).status_code == browser.get(TOKENS).status_code == 200
    assert not ApiToken.objects.exists()
    browser.post(PAGE, wanted)  # what was asked for is done once it is proved
    page = browser.post(answer["Location"], {"password": PASSWORD, "next": PAGE}).content.decode()
    assert re.search(r'class="token-key">vf_', page)
    assert browser.post(TOKENS, {"name": "one more"}, content_type="application/json").status_code == 201
    assert ApiToken.objects.count() == 2


def test_who_has_signed_up_or_in_just_now_needs_no_other_proof(client: Client, ann: User):
    new = {"email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD}
    client.post("/accounts/signup/", new)
    assert client.post(TOKENS, {"name": "x"}, content_type="application/json").status_code == 201
    other = Client()
    sign_in(other)
    assert other.post(TOKENS, {"name": "x"}, content_type="application/json").status_code == 201


def test_a_new_password_by_mail_ends_all_tokens(client: Client, ann: User):
    """Somebody who had the account may have made them."""
    other = make_user("other@example.org")
    issue(other)
    _token, key = issue(ann)
    client.post("/accounts/password/reset/", {"email": ann.email})
    form = client.get(link_in_mail(ann.email), follow=True)
    new = "another quiet river 8"
    client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new})
    assert with_token(key).get(ME).status_code == 401
    assert [token.user for token in ApiToken.objects.all()] == [other]


def test_a_token_needs_no_csrf_and_a_session_does(ann: User):
    _token, key = issue(ann)
    strict = Client(enforce_csrf_checks=True)
    body = {"name": "x"}
    program = {"Authorization": f"Token {key}"}
    assert strict.post(TOKENS, body, content_type="application/json", headers=program).status_code == 201
    strict.force_login(ann)
    answer = strict.post(TOKENS, body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")


def test_a_bad_token_does_not_fall_back_to_the_session(rf, ann: User):
    request = rf.get("/media/x")
    request.user = ann
    assert middleware.reader(request) == ann
    request = rf.get("/media/x", headers={"Authorization": "Token bad"})
    request.user = ann
    assert middleware.reader(request) == AnonymousUser()


@pytest.mark.parametrize(
    ("header", "asked"),
    [(None, "browser"), (b"Basic eDp5", "browser"), (b"Token bad", "program"), (b"tOKEN x", "program")],
)
@pytest.mark.django_db(transaction=True)
def test_only_a_token_takes_the_place_of_the_session_at_a_websocket(header: bytes | None, asked: str):
    seen = []

    def application(name: str) -> middleware.Application:
        async def note(scope, receive, send) -> None:
            seen.append(name)

        return note

    door = middleware.TokenOrBrowser(application("program"), application("browser"))
    headers = [] if header is None else [(b"authorization", header)]
    async_to_sync(door)({"headers": headers}, None, None)
    assert seen == [asked]


def test_an_administrator_sees_tokens_but_no_hash(client: Client, ann: User):
    token, _key = issue(ann)
    client.force_login(make_user(is_staff=True, is_superuser=True))
    page = client.get(f"/admin/accounts/apitoken/{token.pk}/change/").content.decode()
    assert "script" in page
    assert client.get("/admin/accounts/apitoken/add/").status_code == 403
