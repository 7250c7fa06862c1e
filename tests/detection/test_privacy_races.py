"""An account that is deleted while something is being done for its user: no orphan, and no error to whoever deletes it.

See ``retention/test_races.py``; run on PostgreSQL by ``test_privacy_races_on_postgresql.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from django.db import IntegrityError

from accounts import roles
from accounts.models import User
from detection import runner, services, validators
from detection.models import Analysis, DailyUse, FaceTrack, Upload, WebhookEndpoint, WebhookEvent
from detection.privacy import erasure
from tests import factories
from tests.detection.retention.test_races import at_once
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 5


@pytest.fixture
def nothing_left(media_root: Path) -> Callable[[], None]:
    def check() -> None:
        for model in (User, Upload, Analysis, FaceTrack, DailyUse, WebhookEvent, WebhookEndpoint):
            assert not model._base_manager.exists(), model
        assert [path for path in media_root.rglob("*") if path.is_file()] == []

    return check


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_erasing_while_a_worker_finishes(_round: int, owner: User, nothing_left: Callable[[], None]):
    WebhookEndpoint.objects.create(user=owner, url="https://example.org/hook")  # so that the end refers to the user
    rows = [factories.make_analysis(owner) for _number in range(3)]

    def work() -> None:
        for row in rows:
            runner.run(row.pk, engine=FakePipeline())

    assert at_once(work, lambda: erasure.erase(user=owner)) == []
    nothing_left()


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_erasing_while_uploads_arrive(_round: int, owner: User, nothing_left: Callable[[], None]):
    """Who uploads for an account that is going may be refused in any way; nothing may stay of it."""
    services.submit(user=owner, upload=validators.accept(factories.uploaded()))  # the day's row is there
    late: list[BaseException] = []

    def send() -> None:
        try:
            for _number in range(5):
                services.submit(user=owner, upload=validators.accept(factories.uploaded()))
        except (IntegrityError, User.DoesNotExist) as error:
            late.append(error)

    assert at_once(send, lambda: erasure.erase(user=owner)) == []
    erasure.erase(user=owner)
    nothing_left()


@pytest.mark.parametrize("_round", range(ROUNDS))
@pytest.mark.parametrize(
    "go", [lambda user: erasure.erase(user=user), lambda user: roles.set_role(user, roles.Role.USER)]
)
def test_two_administrators_who_go_at_once_leave_one(go: Callable[[User], None], _round: int, db: None):
    pair = [factories.make_user(is_staff=True, is_superuser=True) for _number in range(2)]
    assert all(isinstance(error, roles.LastAdministrator) for error in at_once(*(partial(go, user) for user in pair)))
    assert User.objects.filter(is_superuser=True).count() == 1


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_erasing_twice_at_once(_round: int, owner: User, nothing_left: Callable[[], None]):
    analysis = factories.make_result(owner)
    acts = [lambda: erasure.erase(user=owner), lambda: erasure.erase(user=owner)]
    assert at_once(*acts, lambda: services.delete(analysis=analysis)) == []
    nothing_left()
