"""Who may do what: users, reviewers, administrators.

A reviewer is a member of the group ``reviewers``, which every migration makes sure of, and may enter the admin. What
the group may do there are permissions like any others: an administrator can add to them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.db import models, transaction
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from accounts.models import User

logger = logging.getLogger(__name__)

REVIEWERS = "reviewers"
REVIEW = "review_analysis"  # declared by detection, of which this app knows nothing else


class Role(models.TextChoices):
    USER = "user", _("user")
    REVIEWER = "reviewer", _("reviewer")
    ADMINISTRATOR = "administrator", _("administrator")


class LastAdministrator(Exception):  # noqa: N818
    """Without this one nobody could administer the site."""


def role_of(user: User) -> Role:
    if user.is_active and user.is_superuser:
        return Role.ADMINISTRATOR
    if user.is_active and user.groups.filter(name=REVIEWERS).exists():
        return Role.REVIEWER
    return Role.USER


def is_last_administrator(user: User) -> bool:
    """Ask inside the transaction that takes the role away: until its end no other one can take it from the rest.

    All are locked, always in the same order; whoever waited for another transaction sees what that one has left.
    """
    administrators = User.objects.filter(is_superuser=True, is_active=True).order_by("pk")
    if not administrators.filter(pk=user.pk).exists():
        return False
    locked = administrators.select_for_update(no_key=True).values_list("pk", flat=True)
    return list(locked) == [user.pk]


@transaction.atomic
def set_role(user: User, role: Role, *, by: User | None = None) -> None:
    """Give somebody this role and take the other ones away. Raises LastAdministrator.

    Args:
        by: the administrator who does it; None: somebody at the machine itself.
    """
    if role != Role.ADMINISTRATOR and is_last_administrator(user):
        raise LastAdministrator
    reviewers = ensure_reviewers()
    with rights_logged(user, by=by):
        user.is_superuser = role == Role.ADMINISTRATOR
        user.is_staff = role != Role.USER
        user.save(update_fields=["is_superuser", "is_staff"])
        if role == Role.REVIEWER:
            user.groups.add(reviewers)
        else:
            user.groups.remove(reviewers)
    logger.info("user %s is now: %s", user.pk, role)


def rights_of(subject: User | Group) -> dict[str, Any]:
    """What is stored of them, without names of people."""
    stored = type(subject)._default_manager.filter(pk=subject.pk).first()
    if stored is None:
        return {}
    if isinstance(stored, Group):
        return {"name": stored.name, "permissions": _codes(stored.permissions)}
    return {
        "active": stored.is_active,
        "staff": stored.is_staff,
        "superuser": stored.is_superuser,
        "groups": sorted(stored.groups.values_list("name", flat=True)),
        "permissions": _codes(stored.user_permissions),
    }


def _codes(permissions: Any) -> list[str]:
    return sorted(f"{app}.{code}" for app, code in permissions.values_list("content_type__app_label", "codename"))


@contextmanager
def rights_logged(subject: User | Group, *, by: User | None) -> Iterator[None]:
    """Have the log of acts (``settings.RIGHTS_LOG``) know what of somebody's rights is different afterwards."""
    before = rights_of(subject)
    yield
    note_rights(subject, before, by=by)


def note_rights(subject: User | Group, before: dict[str, Any], *, by: User | None) -> None:
    """The same for code that has no one place to stand around; ``before`` is what ``rights_of`` said then."""
    kind = "group" if isinstance(subject, Group) else "account"
    import_string(settings.RIGHTS_LOG)(kind=kind, id_=subject.pk, by=by, before=before, after=rights_of(subject))


def ensure_reviewers(**signal: Any) -> Group:
    """The group, made if it is missing, with what reviewers may do.

    Also a receiver of ``post_migrate``, of every app, because permissions come into being there.
    """
    del signal
    group, _created = Group.objects.get_or_create(name=REVIEWERS)
    group.permissions.add(*Permission.objects.filter(codename=REVIEW, content_type__app_label="detection"))
    return group
