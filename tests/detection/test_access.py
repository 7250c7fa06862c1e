"""A stranger gets nothing of another user's analysis: one walk over all routes, HTTP and WebSocket.

Routes are taken from the URL resolver, so that a new one cannot be forgotten: if it takes an argument, this test must
say how it is called, and then whether strangers are kept out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts import tokens
from accounts.models import ApiToken, User
from detection.models import Analysis, WebhookDelivery, WebhookEndpoint, WebhookEvent
from detection.routing import websocket_urlpatterns
from tests import factories
from tests.detection.sockets import connect

pytestmark = pytest.mark.django_db(transaction=True)

METHODS = ["get", "head", "post", "put", "patch", "delete", "options"]
FILES = ["source", "faces/0.jpg", "heatmaps/0.png", "tracks/0.jpg"]
# Belong to nobody in particular, or answer about the visitor's own things only.
OPEN = {
    "set_language",
    "detection:home",
    "detection:upload",
    "detection:analysis_list",
    "detection:analysis_export",
    "detection:analysis_bulk",
    "detection:sample",
    "detection:model",
    "detection:model_plot",
    "api:analysis-list",
    "api:me",
    "api:model-list",
    "api:token-list",
    "api:usage",
    "api:webhook-list",
    "api:webhook-callback-secret",
    "api:delivery-list",
    "api:deletion-list",
    "detection:storage",
    "detection:privacy",
    "accounts:home",
    "accounts:sessions_end_all",
    "accounts:tokens",
    "detection:account_delete",
    "detection:archive",
    "detection:webhook_list",
    "detection:callback_secret",
    "detection:delivery_list",
    "predict",
    "predict-slash",
    "health",
    "ready",
    "metrics",  # by a token of its own
    "schema",
    "docs",
}
# Django's and allauth's own, each with its own protection.
NOT_OURS = ("admin", "account_", "mfa_", "usersessions_")


def routes(resolver: URLResolver | None = None, prefix: str = "", spaces: str = "") -> Iterator[tuple[str, str]]:
    """Name and pattern of every route."""
    for entry in (resolver or get_resolver()).url_patterns:
        pattern = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            space = f"{spaces}{entry.namespace}:" if entry.namespace else spaces
            yield from routes(entry, pattern, space)
        else:
            assert isinstance(entry, URLPattern)
            yield f"{spaces}{entry.name}", pattern


def belongings(analysis: Analysis) -> dict[str, str]:
    """One of everything that the analysis' owner has, by how routes call it."""
    owner = analysis.upload.user
    webhook, _ = WebhookEndpoint.objects.get_or_create(user=owner, url="https://example.org/hook")
    event, _ = WebhookEvent.objects.get_or_create(
        user=owner, analysis=analysis, type="analysis.completed", defaults={"created_at": timezone.now(), "body": "{}"}
    )
    delivery, _ = WebhookDelivery.objects.get_or_create(event=event, endpoint=webhook, url=webhook.url)
    token = ApiToken.objects.filter(user=owner).first()
    if token is None:
        token, _ = tokens.issue(user=owner, name="private", lifetime=None)
    session, _ = UserSession.objects.get_or_create(user=owner, session_key="owner's", defaults={"ip": "127.0.0.1"})
    return {
        "<uuid:analysis_id>": str(analysis.pk),
        "<uuid:webhook_id>": str(webhook.pk),
        "<uuid:delivery_id>": str(delivery.pk),
        "<uuid:public_id>": str(token.public_id),
        "<int:session_id>": str(session.pk),
    }


def private_paths(analysis: Analysis) -> dict[str, list[str]]:
    """Every route that is about something of somebody's, filled in, by its name."""
    found: dict[str, list[str]] = {}
    ids = belongings(analysis)
    for name, pattern in routes():
        if name in OPEN or name.startswith(NOT_OURS):
            continue
        path = "/" + pattern
        for kind, id_ in ids.items():
            path = path.replace(kind, id_)
        assert path != f"/{pattern}", f"say in this test what protects {name} ({pattern})"
        found[name] = [path.replace("<path:name>", file) for file in FILES] if "<path:name>" in path else [path]
    return found


@pytest.fixture
def analysis(owner: User, media_root: Path) -> Analysis:
    analysis = factories.make_result(owner)
    for name in FILES[1:]:
        path = media_root / analysis.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"private")
    return analysis


def test_the_walk_knows_its_routes(analysis: Analysis):
    names = set(private_paths(analysis))
    assert {"detection:analysis_detail", "detection:file", "api:analysis-detail", "api:analysis-cancel"} <= names
    assert len(names) >= 8


def test_a_stranger_gets_404_everywhere(client: Client, stranger: User, analysis: Analysis):
    client.force_login(stranger)
    for name, paths in private_paths(analysis).items():
        for path in paths:
            for method in METHODS:
                response = getattr(client, method)(path)
                assert response.status_code in (404, 405) or method == "options", (name, method, response.status_code)
                assert b"private" not in response.content
            allowed = client.options(path).headers.get("Allow") or client.patch(path).headers["Allow"]
            answers = {
                getattr(client, m.strip().lower())(path).status_code for m in allowed.split(",") if "OPTIONS" not in m
            }
            assert answers == {404}, (name, answers)
    unchanged = Analysis.objects.get(pk=analysis.pk)
    assert (unchanged.status, unchanged.revision) == (analysis.status, analysis.revision)


def test_a_strangers_token_opens_nothing(client: Client, stranger: User, analysis: Analysis):
    """Pages do not know tokens at all: there it is as good as none."""
    _token, key = tokens.issue(user=stranger, name="stranger's", lifetime=None)
    token = {"Authorization": f"Token {key}"}
    assert client.get("/api/v1/me/", headers=token).json()["email"] == stranger.email
    before = belongings(analysis)
    for name, paths in private_paths(analysis).items():
        for path in paths:
            for method in METHODS:
                response = getattr(client, method)(path, headers=token)
                login = response.status_code == 302 and response["Location"].startswith("/accounts/login/")
                refused = response.status_code in (404, 405) or method == "options"
                assert login or refused, (name, method, response.status_code)
                assert b"private" not in response.content
    assert client.get("/api/v1/analyses/", headers=token).json()["results"] == []
    assert [row["name"] for row in client.get("/api/v1/tokens/", headers=token).json()] == ["stranger's"]
    assert belongings(analysis) == before
    unchanged = Analysis.objects.get(pk=analysis.pk)
    assert (unchanged.status, unchanged.revision) == (analysis.status, analysis.revision)


def test_the_owners_token_opens_what_is_the_owners(client: Client, owner: User, analysis: Analysis):
    _token, key = tokens.issue(user=owner, name="mine", lifetime=None)
    for path in (
        f"/api/v1/analyses/{analysis.pk}/",
        f"/media/{analysis.pk}/source",
        f"/media/{analysis.pk}/{FILES[1]}",
    ):
        assert client.head(path, headers={"Authorization": f"Token {key}"}).status_code == 200, path
        assert client.head(path, headers={"Authorization": f"Token {key[:-1]}x"}).status_code in (401, 404), path


def test_an_administrator_is_a_stranger_on_users_pages(client: Client, analysis: Analysis):
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    for name, paths in private_paths(analysis).items():
        if name == "detection:file":
            continue  # may review, and so sees what there is to review; see review/test_pages
        for path in paths:
            assert client.get(path).status_code in (404, 405)
            assert client.post(path).status_code in (404, 405)


def test_an_anonymous_visitor_is_sent_to_the_login_or_gets_nothing(client: Client, analysis: Analysis):
    for name, paths in private_paths(analysis).items():
        for path in paths:
            for method in ("get", "post", "delete"):
                response = getattr(client, method)(path)
                if response.status_code == 302:
                    assert response["Location"].startswith("/accounts/login/"), name
                else:
                    assert response.status_code in (401, 404, 405), (name, method, response.status_code)
    assert client.get(f"/media/{analysis.pk}/source").status_code == 404
    assert Analysis.objects.filter(pk=analysis.pk).exists()


def test_lists_hold_only_ones_own(client: Client, stranger: User, analysis: Analysis):
    client.force_login(stranger)
    assert client.get("/analyses/").context["page_obj"].paginator.count == 0
    assert client.get("/api/v1/analyses/").json()["results"] == []
    assert list(client.get("/").context["recent"]) == []


def test_the_owner_gets_in(client: Client, owner: User, analysis: Analysis):
    """So that the tests above do not pass because everything is broken."""
    client.force_login(owner)
    for path in (f"/analyses/{analysis.pk}/", f"/api/v1/analyses/{analysis.pk}/", f"/analyses/{analysis.pk}/delete/"):
        assert client.get(path).status_code == 200
    for name in FILES:
        assert client.head(f"/media/{analysis.pk}/{name}").status_code == 200


def test_admin_pages_need_an_administrator(client: Client, stranger: User, analysis: Analysis):
    paths = [f"/admin/detection/analysis/{analysis.pk}/change/", "/admin/detection/analysis/", "/admin/"]
    client.force_login(stranger)
    assert {client.get(path).status_code for path in paths} <= {302, 403}
    client.force_login(factories.make_user(is_staff=True, is_superuser=True))
    assert {client.get(path).status_code for path in paths} == {200}


# -- WebSocket --------------------------------------------------------------------------------------------------------


async def test_a_stranger_is_refused_on_every_socket(stranger: User, analysis: Analysis):
    patterns = [str(route.pattern) for route in websocket_urlpatterns]
    assert patterns == ["ws/analyses/<uuid:analysis_id>/", ""], "say in this test what protects the new socket"
    for user in (stranger, AnonymousUser()):
        assert await connect(user, f"/ws/analyses/{analysis.pk}/").connect() == 4404


async def test_sockets_that_do_not_exist(owner: User):
    for path in ("/ws/analyses/00000000-0000-4000-8000-000000000000/", "/ws/analyses/7/", "/ws/", "/"):
        assert await connect(owner, path).connect() == 4404
