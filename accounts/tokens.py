"""API tokens: made, used and revoked. Keys and hashes are knox's."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from knox.auth import TokenAuthentication as KnoxAuthentication
from rest_framework.exceptions import AuthenticationFailed

from accounts.models import ApiToken, User

logger = logging.getLogger(__name__)

MOST_TOKENS = 50  # of one user: a program that makes one at every start should notice
NOTED_EVERY = timedelta(minutes=1)  # a read should not cost a write each time


class TooManyTokens(Exception):  # noqa: N818
    """The user has ``MOST_TOKENS`` already."""


def issue(*, user: User, name: str, lifetime: timedelta | None, maker: ApiToken | None = None) -> tuple[ApiToken, str]:
    """Make a token. Returns the row and the key, which can never be read again.

    Args:
        lifetime: None for a token that does not expire.
        maker: the token by which it was asked for, if it was: what it makes does not outlive it, so that a key that
            leaked cannot be made to last.

    Raises:
        TooManyTokens
    """
    if ApiToken.objects.filter(user=user).count() >= MOST_TOKENS:
        raise TooManyTokens
    with transaction.atomic():
        token, key = ApiToken.objects.create(user=user, expiry=lifetime, name=name)
        if maker is not None and maker.expiry is not None and not (token.expiry and token.expiry < maker.expiry):
            token.expiry = maker.expiry
            token.save(update_fields=["expiry"])
    logger.info("user %s: token %s made", user.pk, token.public_id)
    return token, key


def revoke(*, user: User, public_id: uuid.UUID) -> bool:
    """End a token of this user at once. Returns False if there is none."""
    deleted, _details = ApiToken.objects.filter(user=user, public_id=public_id).delete()
    if deleted:
        logger.info("user %s: token %s revoked", user.pk, public_id)
    return bool(deleted)


def revoke_all(user: User, **signal: Any) -> None:
    """Receiver of ``password_reset``: whoever has lost the account to somebody gets rid of what they left behind."""
    del signal
    deleted, _details = ApiToken.objects.filter(user=user).delete()
    logger.info("user %s: %d tokens revoked with the password", user.pk, deleted)


class TokenAuthentication(KnoxAuthentication):
    """``Authorization: Token KEY``; ``request.auth`` becomes the ``ApiToken``."""

    def authenticate_credentials(self, token: bytes) -> tuple[User, ApiToken]:
        """Raises AuthenticationFailed."""
        try:
            user, found = super().authenticate_credentials(token)
        except UnicodeDecodeError:
            raise AuthenticationFailed(_("Invalid token.")) from None
        now = timezone.now()
        ApiToken.objects.filter(Q(last_used=None) | Q(last_used__lt=now - NOTED_EVERY), pk=found.pk).update(
            last_used=now
        )
        return user, found


def user_of(header: str) -> User | None:
    """Whose token an ``Authorization`` header holds, for what is no part of the API; None if there is no good one."""
    scheme, _space, key = header.partition(" ")
    if scheme.lower() != "token" or not key.strip():
        return None
    try:
        user, _token = TokenAuthentication().authenticate_credentials(key.strip().encode())
    except AuthenticationFailed:
        return None
    return user
