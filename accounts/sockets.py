"""WebSockets end with the session, the token or the right by which they were opened.

A request proves anew who asks; a socket that is open would go on. So whatever may end its right sends
``rights.changed`` to the user's sockets, and each of them asks again (``present_user``). The message only hurries them:
they also ask every ``ASK_EVERY`` seconds, which covers what passes without one (a session that runs out, rows changed
in bulk, Redis away).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from importlib import import_module
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import transaction
from django.utils import timezone

from accounts import sessions, tokens
from accounts.models import ApiToken, User
from config import layer

ASK_EVERY = 60  # seconds
# Channels turns the type into the method `rights_changed` of the consumer.
RIGHTS_CHANGED = {"type": "rights.changed"}


def group_name(user: User | AnonymousUser) -> str:
    return f"user.{user.pk}"


async def present_user(scope: MutableMapping[str, Any]) -> User | AnonymousUser:
    """Who the socket's cookie or token stands for now, by what is stored now."""
    if scope.get("by_token"):
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin1")
        return await database_sync_to_async(tokens.user_of)(header) or AnonymousUser()
    if "session" not in scope:
        return await database_sync_to_async(_stored)(scope["user"])
    fresh = import_module(settings.SESSION_ENGINE).SessionStore(scope["session"].session_key)
    user: User | AnonymousUser = await get_user({"session": fresh})
    return AnonymousUser() if sessions.is_over(fresh) else user


def _stored(user: Any) -> User | AnonymousUser:
    """For a socket that was opened for a user and by nothing that can end."""
    return User.objects.filter(pk=user.pk, is_active=True).first() or AnonymousUser()


def session_ended(instance: AbstractBaseSession, **signal: Any) -> None:
    """Receiver of ``post_delete``. Of one that had run out each socket has heard by itself: it may be one of many."""
    del signal
    if instance.expire_date <= timezone.now():
        return
    if user_pk := instance.get_decoded().get(SESSION_KEY):
        _tell(user_pk)


def token_ended(instance: ApiToken, **signal: Any) -> None:
    """Receiver of ``post_delete``."""
    del signal
    _tell(instance.user_id)


def user_changed(instance: User, created: bool, update_fields: frozenset[str] | None, **signal: Any) -> None:
    """Receiver of ``post_save``: another password, or no way in any more. At a sign-in only its time is noted."""
    del signal
    if not created and update_fields != frozenset({"last_login"}):
        _tell(instance.pk)


def groups_changed(instance: Any, action: str, **signal: Any) -> None:
    """Receiver of ``m2m_changed``: no reviewer any more. Done from the side of the group it names no user."""
    del signal
    if action.startswith("post_") and isinstance(instance, User):
        _tell(instance.pk)


def _tell(user_pk: Any) -> None:
    # robust: what else waits for the commit must be done as well.
    transaction.on_commit(partial(layer.send, f"user.{user_pk}", RIGHTS_CHANGED), robust=True)
