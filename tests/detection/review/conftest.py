"""People of the review stories."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts import roles
from accounts.models import User
from detection.models import Analysis
from tests import factories


def make_reviewer(email: str = "") -> User:
    user = factories.make_user(email)
    roles.set_role(user, roles.Role.REVIEWER)
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
    return client


@pytest.fixture
def analysis(owner: User) -> Analysis:
    """Of the owner's; the model says: manipulated."""
    return factories.make_result(owner)
