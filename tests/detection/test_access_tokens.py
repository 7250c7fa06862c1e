"""Who may do what by token, and by the actions of the admin: what the table of test_access_matrix.py leaves open.

A token is its owner's, for what is its owner's. It opens the API, files and the socket; pages and the admin do not know
it. So it needs no table of its own: each row of the other one says what a token gets there, whoever's it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.routing import URLRouter
from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts import roles, tokens
from accounts.middleware import TokenOrBrowser
from accounts.models import User
from detection.admin.analyses import AnalysisAdmin
from detection.admin.review import QueueAdmin
from detection.models import Analysis, AuditEntry, QueuedAnalysis
from detection.routing import websocket_urlpatterns
from tests import factories
from tests.detection.sockets import Socket
from tests.detection.test_access import FILES
from tests.detection.test_access_matrix import PEOPLE, addresses, expected, outcome, read

HOLDERS = ("owner", "stranger", "reviewer", "administrator", "nobody")
TAKES_TOKENS = ("api:", "predict", "detection:file ")


@pytest.fixture
def holders(owner: User, stranger: User) -> dict[str, User]:
    reviewer, administrator = factories.make_user(), factories.make_user()
    roles.set_role(reviewer, roles.Role.REVIEWER)
    roles.set_role(administrator, roles.Role.ADMINISTRATOR)
    return {"owner": owner, "stranger": stranger, "reviewer": reviewer, "administrator": administrator}


@pytest.fixture
def finished(owner: User, media_root: Path) -> Analysis:
    analysis = factories.make_result(owner)
    Analysis.objects.filter(pk=analysis.pk).update(finished_at=timezone.now())
    for name in FILES[1:]:
        path = media_root / analysis.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(factories.jpeg())
    return analysis


def token_of(holders: dict[str, User], who: str) -> str:
    """What a program shows; nobody's was revoked."""
    user = holders.get(who) or holders["owner"]
    token, key = tokens.issue(user=user, name=f"{who}'s", lifetime=None)
    if who not in holders:
        tokens.revoke(user=user, public_id=token.public_id)
    return f"Token {key}"


# -- Tokens -----------------------------------------------------------------------------------------------------------


def due_to(who: str, name: str, row: tuple[str, ...]) -> str:
    """What the table says that somebody gets who is, or is not, the one whose things these are."""
    said = dict(zip(PEOPLE, row, strict=True))
    if not name.startswith(TAKES_TOKENS):
        return said["anonymous"]
    if who == "nobody":
        return "404" if name.startswith("detection:file ") else "401"
    return said["owner" if who == "owner" else "stranger"]


def ask(token: str, method: str, path: str) -> str:
    """What a program gets that shows this token; whatever it changed is taken back."""
    with transaction.atomic():
        headers = {"Accept": "text/html, application/json", "Authorization": token}
        response = Client().generic(method, path, headers=headers)
        if response.streaming:
            async_to_sync(read)(response)
        transaction.set_rollback(True)
    return outcome(response)


@pytest.mark.parametrize("who", HOLDERS)
def test_a_token_opens_what_is_its_owners_and_no_page(finished: Analysis, holders: dict[str, User], who: str):
    paths, token, wrong = dict(addresses(finished)), token_of(holders, who), {}
    for (name, method), row in expected().items():
        said = ask(token, method, paths[name])
        if said != due_to(who, name, row):
            wrong[f"{method} {paths[name]}"] = f"{said}, not {due_to(who, name, row)}"
    assert not wrong


@pytest.mark.parametrize("who", HOLDERS)
@pytest.mark.django_db(transaction=True)
async def test_the_socket_by_token(finished: Analysis, holders: dict[str, User], who: str):
    """Unlike a reviewer's browser, a reviewer's token is let in for the reviewer's own alone."""
    token = await sync_to_async(token_of)(holders, who)
    application = TokenOrBrowser(URLRouter(websocket_urlpatterns), no_browser)
    socket = Socket(application, f"/ws/analyses/{finished.pk}/", headers=[(b"authorization", token.encode())])
    assert await socket.connect() == (0 if who == "owner" else 4404)


async def no_browser(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("a token was shown")


# -- The actions of the admin -----------------------------------------------------------------------------------------

QUEUE, ANALYSES = "/admin/detection/queuedanalysis/?state=all", "/admin/detection/analysis/"
REVIEWERS, ADMINISTRATORS = {"reviewer", "administrator"}, {"administrator"}
# Where, which, what the log calls it, and for whom it acts.
ACTIONS = [
    (QUEUE, "give_to", "assign", REVIEWERS),
    (QUEUE, "rerun", "rerun", REVIEWERS),
    (QUEUE, "extend", "extend", REVIEWERS),
    (QUEUE, "end_media", "end", REVIEWERS),
    (ANALYSES, "cancel", "cancel", ADMINISTRATORS),
    (ANALYSES, "run_again", "rerun", ADMINISTRATORS),
    (ANALYSES, "delete_selected", "delete", ADMINISTRATORS),
]


def as_it_is(analysis: Analysis) -> list[Any]:
    """All that an action may change."""
    rows = Analysis.objects.filter(pk=analysis.pk)
    return [*rows.values(), *rows.values("upload__media_expires_at", "upload__media_deleted_at", "cases__assigned_to")]


@pytest.mark.parametrize("who", ["owner", "stranger", "reviewer", "administrator"])
@pytest.mark.parametrize(
    ("where", "action", "logged", "allowed"), ACTIONS, ids=[f"{action} {where}" for where, action, *_ in ACTIONS]
)
def test_an_action_acts_for_those_who_may(
    finished: Analysis, holders: dict[str, User], where: str, action: str, logged: str, allowed: set[str], who: str
):
    if action == "cancel":
        Analysis.objects.filter(pk=finished.pk).update(status=Analysis.Status.RUNNING)
    before = as_it_is(finished)
    client = Client()
    client.force_login(holders[who])
    asked = {"action": action, "_selected_action": [str(finished.pk)], "post": "yes"}
    if action == "give_to":
        asked["reviewer"] = str(holders["reviewer"].pk)
    answer = client.post(where, asked)
    assert answer.status_code < 500
    acted = as_it_is(finished) != before
    assert acted == (who in allowed)
    assert AuditEntry.objects.filter(action=logged, actor=holders[who], object_id=str(finished.pk)).exists() == acted


def test_no_action_is_missing_above(rf: Any, holders: dict[str, User]):
    request = rf.get("/")
    request.user = holders["administrator"]
    pages = {QUEUE: QueueAdmin(QueuedAnalysis, admin.site), ANALYSES: AnalysisAdmin(Analysis, admin.site)}
    known = {(where, action) for where, action, *_ in ACTIONS}
    assert {(where, action) for where, page in pages.items() for action in page.get_actions(request)} == known
