"""The end of an account: every row about the user, and every file.

What stays names nobody: receipts that such and such bytes were deleted, the log of what reviewers and administrators
did, and opinions that a reviewer had on other people's files.
"""

from __future__ import annotations

import logging
from functools import partial
from importlib import import_module

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import mails
from accounts.models import ApiToken, User
from accounts.roles import is_last_administrator
from detection import progress, retention
from detection.models import Analysis, DeletionReason, DeletionReceipt, Upload, WebhookDelivery, WebhookEndpoint
from detection.problems import Refused
from detection.review import audit

logger = logging.getLogger(__name__)

TRIES = 5


def erase(*, user: User, by: User | None = None) -> None:
    """Remove a user with all media, results, tokens, sessions and webhooks. Once more, it does nothing.

    All rows go in one transaction, and the files when it is done: a process that dies between the two leaves folders
    without rows, which the clean-up removes. A worker that is at one of the analyses notices that its row is gone and
    stops; an upload that is just arriving finds no user to belong to, and is removed by whoever takes it.

    Args:
        by: the administrator who does it; None if it is the user.

    Raises:
        Refused: ``conflict``, for the last administrator.
    """
    for left in reversed(range(TRIES)):
        try:
            _erase(user, by)
        except (OperationalError, IntegrityError):
            # Somebody wrote for this user at the same moment: PostgreSQL ends one of two that wait for each other, and
            # SQLite says of a row that came too late only at the end.
            if not left:
                raise
            logger.info("user %s: erased once more, something was just being written", user.pk)
        else:
            return


@transaction.atomic
def _erase(user: User, by: User | None) -> None:
    # Before the user is locked: administrators are locked in one order, or two who go at once wait for each other.
    if is_last_administrator(user):
        raise Refused("conflict", _("You are the only administrator. Make somebody else one first."))
    # Then first of all, as in retention.lock_owner. Once the user is locked nothing new can refer to it.
    found = User.objects.select_for_update().filter(pk=user.pk).first()
    if found is None:
        return
    uploads = list(Upload.objects.filter(user=found))
    running = list(Analysis.objects.filter(upload__user=found, status__in=Analysis.ACTIVE))
    _write_receipts(uploads)
    _end_sessions(found)
    _forget_in_admin_log(found)
    audit.record(
        audit.Action.ERASE, "account", actor=by, role=None if by else audit.Role.USER, after={"files": len(uploads)}
    )
    email, pk = found.email, found.pk
    found.delete()
    # robust: one that fails shall not keep the others; what stays behind, the clean-up finds.
    for upload in uploads:
        transaction.on_commit(partial(retention.remove_folder, upload.folder), robust=True)
    for analysis in running:
        transaction.on_commit(partial(_say_stopped, analysis), robust=True)
    transaction.on_commit(partial(_say_goodbye, found, email), robust=True)
    transaction.on_commit(partial(logger.info, "user %s: erased, with %d uploads", pk, len(uploads)))


def _write_receipts(uploads: list[Upload]) -> None:
    """That the files are gone, of nobody."""
    now = timezone.now()
    DeletionReceipt.objects.bulk_create(
        DeletionReceipt(
            upload_id=upload.pk,
            what=DeletionReceipt.What.FILE,
            reason=DeletionReason.ACCOUNT,
            sha256=upload.sha256,
            size=upload.size,
            deleted_at=now,
        )
        for upload in uploads
        if upload.media_deleted_at is None
    )


def _end_sessions(user: User) -> None:
    """The sessions themselves: the rows that list them go with the user."""
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    for key in UserSession.objects.filter(user=user).values_list("session_key", flat=True):
        store.delete(key)


def _forget_in_admin_log(user: User) -> None:
    """Django's log of the admin keeps names of what was changed there: addresses, files, webhooks."""
    owned: dict[type[Model], str] = {
        User: "pk",
        EmailAddress: "user",
        ApiToken: "user",
        Upload: "user",
        Analysis: "upload__user",
        WebhookEndpoint: "user",
        WebhookDelivery: "event__user",
    }
    for model, owner in owned.items():
        ids = [str(pk) for pk in model._base_manager.filter(**{owner: user.pk}).values_list("pk", flat=True)]
        about = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model))
        for start in range(0, len(ids), 500):  # SQLite takes only so many values
            about.filter(object_id__in=ids[start : start + 500]).delete()


def _say_stopped(analysis: Analysis) -> None:
    """To those who still watch it."""
    analysis.status, analysis.revision = Analysis.Status.CANCELLED, analysis.revision + 1
    progress.publish(analysis.pk, progress.updated(analysis))


def _say_goodbye(user: User, email: str) -> None:
    """So that an owner whose account somebody else has ended learns of it."""
    try:
        mails.send(user, "account_deleted", {}, to=email)
    except mails.NotSent as error:
        logger.warning("nobody was told that an account was deleted: %s", error)
