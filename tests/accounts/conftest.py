"""Fixtures of the account tests."""

from __future__ import annotations

import base64
import hmac
import re
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.cache import cache
from django.test import Client

from accounts.models import User
from tests.factories import PASSWORD, make_user


@pytest.fixture(autouse=True)
def _no_counted_attempts() -> Iterator[None]:
    """allauth counts failed attempts, and remembers used codes, in the cache."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def _quick_passwords(settings: LazySettings) -> None:
    """The real hash is slow on purpose; what it does is Django's to test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ann(db: None) -> User:
    return make_user("ann@example.org")


@pytest.fixture
def ann_client(client: Client, ann: User) -> Client:
    """Signed in as people do it, with the password."""
    assert sign_in(client).status_code == 302
    return client


def sign_in(client: Client, email: str = "ann@example.org", password: str = PASSWORD):
    return client.post("/accounts/login/", {"login": email, "password": password})


def link_in_mail(to: str) -> str:
    """The path of the link in the newest message to somebody."""
    text = next(str(message.body) for message in reversed(mail.outbox) if to in message.to)
    return re.search(r"https?://[^/]+(/\S+)", text)[1]


def totp(secret: str, *, steps: int = 0) -> str:
    """What an authenticator app shows: six digits for each thirty seconds. Written from RFC 6238, not with what it is
    to be compared with."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30 + steps), "sha1")
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


@pytest.fixture
def turn_on() -> Callable[[Client], str]:
    """Set up a second factor by the pages; returns its key."""

    def set_up(client: Client) -> str:
        page = client.get("/accounts/2fa/totp/activate/", follow=True)
        if "reauthenticate" in page.request["PATH_INFO"]:
            proof = {"password": PASSWORD, "next": "/accounts/2fa/totp/activate/"}
            page = client.post(page.request["PATH_INFO"], proof, follow=True)
        secret = page.context["form"].secret
        done = client.post("/accounts/2fa/totp/activate/", {"code": totp(secret)})
        assert done.status_code == 302, done.context["form"].errors
        cache.clear()  # the code of these thirty seconds may be used again: no test waits for the next one
        return str(secret)

    return set_up
