"""People of the review stories."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts import roles
from accounts.models import User
from detection.models import Analysis
from tests import factories


def make_reviewer(email: str = "") -> User:
    """Past ``set_role``, whose entry in the log of acts every story would have to count."""
    user = factories.make_user(email, is_staff=True)
    user.groups.add(roles.ensure_reviewers())
    return User.objects.get(pk=user.pk)  # without remembered permissions


@pytest.fixture
def reviewer(db: None) -> User:
    return make_reviewer("reviewer@example.org")


@pytest.fixture
def colleague(db: None) -> User:
    return make_reviewer("colleague@example.org")


@pytest.fixture
def third(db: None) -> User:
    return make_reviewer("third@example.org")


@pytest.fixture
def reviewer_client(reviewer: User) -> Client:
    client = Client()
    client.force_login(reviewer)
    client.get("/health/")  # the first request of a session is noted, which is no other test's to count
    return client


@pytest.fixture
def analysis(owner: User) -> Analysis:
    """Of the owner's; the model says: manipulated."""
    return factories.make_result(owner)
