"""Writing the log of who did what. Reading it is the admin's business."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.utils import timezone

from accounts.models import User
from detection.models import Analysis, AuditEntry

Action = AuditEntry.Action
Role = AuditEntry.Role
READ_ONCE = timedelta(hours=1)


def record(
    action: AuditEntry.Action,
    about: Analysis | str,
    *,
    id_: str = "",
    actor: User | None = None,
    role: AuditEntry.Role | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Write one entry; inside the transaction of what it tells of.

    Args:
        about: the analysis, or in words what else it is about; then ``id_`` may say which.
        actor: staff who did it. A user who acts on what is his own is told by ``role`` alone.
        before, after: what changed. Verdicts, dates and numbers: never what somebody wrote.
    """
    kind, id_ = ("analysis", str(about.pk)) if isinstance(about, Analysis) else (about, id_)
    AuditEntry(
        at=timezone.now(),
        actor=actor,
        role=role or role_of(actor),
        action=action,
        object_type=kind,
        object_id=id_,
        before=before or {},
        after=after or {},
    ).save()


def note_rights(*, kind: str, id_: int, by: User | None, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Somebody's rights, or a group's, were changed (``settings.RIGHTS_LOG``); only what differs is written down.

    Args:
        kind: ``account`` or ``group``; ``id_`` is its number, which leads nowhere once it is deleted.
        by: the administrator; None: by a command on the machine itself.
    """
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if not changed:
        return
    was, is_now = ({name: rights[name] for name in changed if name in rights} for rights in (before, after))
    record(Action.RIGHTS, kind, id_=str(id_), actor=by, before=was, after=is_now)


def role_of(actor: User | None) -> AuditEntry.Role:
    if actor is None:
        return Role.SYSTEM
    return Role.ADMINISTRATOR if actor.is_superuser else Role.REVIEWER


def note_reading(*, reader: User, analysis: Analysis) -> None:
    """Somebody sees media that is not his own. One entry an hour for each: a page fetches a hundred files.

    Should the cache forget, there is one entry more, never one less.
    """
    key = f"read:{reader.pk}:{analysis.pk}"
    if cache.add(key, 1, READ_ONCE.total_seconds()):
        try:
            record(Action.READ, analysis, actor=reader)
        except BaseException:  # nothing was noted: what is read next must be
            cache.delete(key)
            raise
