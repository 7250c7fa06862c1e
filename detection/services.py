"""What a user asks for."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from dramatiq import DramatiqError
from redis.exceptions import RedisError

from accounts.models import User
from config import log
from detection import (
    dead_letters,
    idempotency,
    metrics,
    open_access,
    progress,
    quota,
    retention,
    serving,
    tasks,
    validators,
)
from detection.engine.types import MediaKind, Mode
from detection.models import Analysis, DeletionReason, DeletionReceipt, FaceTrack, Upload
from detection.problems import Refused, StorageAwayError, outage
from detection.review import services as review
from detection.validators import AcceptedUpload, HashedFile
from detection.webhooks import delivery, outbox

logger = logging.getLogger(__name__)

# A queued analysis whose message was taken by the broker this long ago is sent once more. Long, because a full
# queue is the usual reason; the extra message is harmless.
RESEND_AFTER = timedelta(minutes=10)
JUST_NOW = timedelta(seconds=10)
# Kept in Redis beside the messages: if it is gone, so are they. A queue elsewhere keeps its own; then a few messages
# too many are sent, which is harmless.
REMEMBERED = "queue.remembered"

# Something to try for those who have no file at hand. Pictures are shipped, videos rendered from them when first asked
# for; see detection/management/commands/render_samples.py.
SAMPLE_PICTURES = Path(settings.BASE_DIR, "static", "samples")
SAMPLES = ("astronaut-pan.mp4", "astronaut-changed-pan.mp4", "astronaut.jpg", "astronaut-changed.jpg")
RENDER_SECONDS = 120
FIRST_LOOK, LONGEST_PAUSE = 0.1, 1.0  # seconds between two looks at a row that somebody waits for
Status = Analysis.Status

# What asking for a new run leaves as it is, and what it leaves if people's verdict stays in force; then also the model,
# by which the next new run, after one that was cancelled, is still known to be the same one's.
KEPT = frozenset({"id", "upload_id", "mode", "created_at", "revision", "callback_url", "external_id"})
REVIEWED = frozenset(
    {"reviewed_verdict", "reviewed_at", "review_unseen", "model_name", "model_version", "model_sha256"}
)


def submit(
    *,
    user: User,
    upload: AcceptedUpload,
    mode: Mode = Mode.STANDARD,
    external_id: str = "",
    callback_url: str = "",
    keep_seconds: int | None = None,
    consent: bool = False,
) -> Analysis:
    """Store file and rows, both or neither, and have it analysed.

    Args:
        mode: how closely a video is looked at.
        external_id: what the client calls it.
        callback_url: told when the analysis ends; one that ``webhooks.endpoints.checked_url`` has let pass.
        keep_seconds: how long the file is kept after its result; None for what this user usually wants.
        consent: the file may be used to improve the detector.

    Raises:
        Refused: ``quota_exceeded``, ``storage_full``, ``disk_full``.
    """
    emptied = open_access.LASTS if user.email == open_access.EMAIL else None
    quota.require_room(user, upload.file.size or 0, emptied=emptied)  # before it is copied; what counts is below
    row = _new_upload(user, upload)
    row.keep_seconds = retention.usual(user) if keep_seconds is None else keep_seconds
    row.consented_at = timezone.now() if consent else None
    content = HashedFile(upload.file)
    try:
        # Copied before the transaction begins: SQLite has one writer at a time, and 100 MB may take a while.
        row.file.save(f"source.{upload.media_type.extensions[0]}", content, save=False)
        row.sha256, row.size = content.sha256, content.bytes_read
        with transaction.atomic():
            quota.take_room(user, row.size, emptied=emptied)
            _charge(user)
            row.save(force_insert=True)
            analysis = Analysis.objects.create(
                upload=row, mode=_mode_for(row.kind, mode), external_id=external_id, callback_url=callback_url
            )
            # robust: the rows are committed by then. What goes wrong must not take the file from under them; the
            # sweeper sends what was not sent.
            transaction.on_commit(lambda: _send_new(analysis), robust=True)
    except BaseException as error:  # also a KeyboardInterrupt: nothing may be left half stored
        _remove_unfinished(row.folder)
        _refuse_for_want_of_room(error)
        raise
    metrics.UPLOAD_BYTES.labels(row.kind).observe(row.size)
    subject = {"analysis_id": str(analysis.pk)}
    logger.info("analysis %s: submitted, %s, %d bytes", analysis.pk, row.mime, row.size, extra=subject)
    return analysis


def _mode_for(kind: str, mode: Mode) -> Mode:
    """To a picture it makes no difference, so it does not make two analyses of one either."""
    return mode if kind == MediaKind.VIDEO else Mode.STANDARD


def _refuse_for_want_of_room(error: BaseException) -> None:
    """Raises Refused, if it was the disk or the bucket that did not take the file."""
    away = outage(error) if isinstance(error, OSError) else None
    if away is not None:
        logger.error("an upload was refused: %s", away.code)
        raise away from error


def _remove_unfinished(folder: str) -> None:
    try:
        retention.remove_folder(folder)
    except StorageAwayError as error:
        # Most likely why it was not finished either; the clean-up finds what there is.
        logger.warning("an upload that failed was not removed: %s", error)


def _new_upload(user: User, upload: AcceptedUpload) -> Upload:
    """What is known before the file is read."""
    return Upload(
        user=user,
        name=upload.name,
        kind=upload.media_type.kind,
        mime=upload.media_type.mime,
        width=upload.width,
        height=upload.height,
    )


def submit_all(
    *,
    user: User,
    uploads: Sequence[AcceptedUpload],
    mode: Mode = Mode.STANDARD,
    keep_seconds: int | None = None,
    consent: bool = False,
) -> list[Analysis]:
    """Submit several, all or none as far as quotas go. Raises Refused (``quota_exceeded``, ``storage_full``)."""
    quota.require(user, len(uploads))
    quota.require_room(user, sum(upload.file.size or 0 for upload in uploads))
    return [
        submit(user=user, upload=upload, mode=mode, keep_seconds=keep_seconds, consent=consent) for upload in uploads
    ]


def _charge(user: User) -> None:
    """Many people share the open account; what they may do is limited by address."""
    if user.email != open_access.EMAIL:
        quota.spend(user)


def sha256_of(upload: AcceptedUpload) -> str:
    """Of the content, before it is stored."""
    sha256 = hashlib.sha256()
    for chunk in upload.file.chunks():
        sha256.update(chunk)
    upload.file.seek(0)
    return sha256.hexdigest()


def earlier_result(
    *, user: User, upload: AcceptedUpload, mode: Mode = Mode.STANDARD, external_id: str = ""
) -> Analysis | None:
    """What today's model found in these very bytes before, in this mode, for this user; None if it has to be found out.

    A result that the client knows by another ``external_id`` is not it: one could not find it by the new one. Nor is
    one whose pictures are gone: there would be less to see than there could be.
    """
    model = _served()
    if model is None:
        return None
    found = Analysis.objects.visible_to(user).filter(
        upload__sha256=sha256_of(upload),
        mode=_mode_for(upload.media_type.kind, mode),
        status=Status.SUCCEEDED,
        pictures_deleted_at=None,
        **model,
    )
    if external_id:
        found = found.filter(external_id=external_id)
    return found.select_related("upload").first()


def _served() -> dict[str, str] | None:
    """Names the model that new analyses are judged by; None if there is none: an analysis will say what is wrong."""
    spec = serving.served_if_any()
    return None if spec is None else serving.columns(spec)


_waiting = threading.BoundedSemaphore(max(1, settings.MAX_WAITING))


def wait_until_ended(*, analysis: Analysis, seconds: float) -> bool:
    """Wait for an analysis to end, at most so long. Reads the row again; returns whether it has ended.

    Whoever waits holds a thread, so only so many may: the next one does not wait at all. The row is asked and no event
    awaited: events come from other processes, may get lost, and would need a loop that this thread has not got.

    Raises Refused (``conflict``) if it is deleted in the meantime.
    """
    if not analysis.is_active or seconds <= 0 or not settings.MAX_WAITING or not _waiting.acquire(blocking=False):
        return not analysis.is_active
    try:
        pause, end = FIRST_LOOK, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(pause * 1.3, LONGEST_PAUSE)
            analysis.refresh_from_db(fields=["status"])
            if not analysis.is_active:
                analysis.refresh_from_db()
                return True
    except Analysis.DoesNotExist:
        raise Refused("conflict", _("The analysis was deleted.")) from None
    finally:
        _waiting.release()
    return False


def sample_folder() -> Path:
    """Where rendered samples lie; a copy of its own goes to each user who tries one."""
    return Path(settings.MEDIA_ROOT, "samples")


def submit_sample(*, user: User, name: str) -> Analysis:
    """Have one of ``SAMPLES`` analysed as if the user had sent it. Raises Refused if it cannot be rendered."""
    path = SAMPLE_PICTURES / name if name.endswith(".jpg") else sample_folder() / name
    if not path.is_file():
        _render_samples()
    try:
        file = SimpleUploadedFile(name, path.read_bytes())
    except FileNotFoundError:
        raise Refused("server_error", _("This sample cannot be made on this server. The log says why.")) from None
    return submit(user=user, upload=validators.accept(file))


def _render_samples() -> None:
    """In a process of its own: the libraries that it takes are not loaded here."""
    command = [sys.executable, str(Path(settings.BASE_DIR, "manage.py")), "render_samples"]
    try:
        subprocess.run(  # noqa: S603  (nothing in it comes from outside)
            [*command, "--output", str(sample_folder())],
            check=True,
            capture_output=True,
            timeout=RENDER_SECONDS,
        )
    except (subprocess.SubprocessError, OSError) as error:
        logger.error("samples cannot be rendered: %s %s", error, getattr(error, "stderr", b""))


def _send_new(analysis: Analysis) -> None:
    """``send``, for somebody who goes on with this very object."""
    analysis.sent_at = send(analysis.pk)


def send(analysis_id: uuid.UUID) -> datetime | None:
    """Put the message into the queue. Returns when; None if the broker is away: the sweeper sends it later."""
    if not _enqueue(analysis_id):
        return None
    now = timezone.now()
    Analysis.objects.filter(pk=analysis_id).update(sent_at=now)
    return now


def _enqueue(analysis_id: uuid.UUID) -> bool:
    # None: deleted in this very moment, and the worker will see.
    kind = Analysis.objects.filter(pk=analysis_id).values_list("upload__kind", flat=True).first()
    try:
        with log.about(analysis_id):
            tasks.send_analysis(analysis_id, is_image=kind == MediaKind.IMAGE)
    except (DramatiqError, RedisError, OSError) as error:
        logger.warning("analysis %s: message not sent, the sweeper will: %s", analysis_id, error)
        return False
    return True


def cancel(*, analysis: Analysis) -> None:
    """Stop a queued or running analysis. Raises Refused (``conflict``) if it has ended."""
    with transaction.atomic():
        retention.lock_owner(analyses=analysis.pk)
        changed = Analysis.objects.filter(pk=analysis.pk, status__in=Analysis.ACTIVE).update(
            status=Status.CANCELLED,
            claim_token=None,
            lease_until=None,
            eta_seconds=None,
            finished_at=timezone.now(),
            revision=F("revision") + 1,
        )
        if not changed:
            raise Refused("conflict", _("This analysis has ended already."))
        analysis.refresh_from_db()
        retention.ended(analysis)
        review.end_without_result(analysis)
        outbox.record(analysis)
    announce(analysis)


def retry(*, analysis: Analysis, mode: Mode | None = None, by: User | None = None) -> None:
    """Analyse the same file anew; what was found before is replaced.

    What reviewers decided stays in force when its owner asks the same model again, however closely it is to look: the
    people have seen the file itself, and nobody gets rid of a verdict like this. What another model says, or what staff
    want to see anew, is another result.

    Args:
        mode: how closely a video is looked at this time; None: as before.
        by: staff who ask for it; then it does not count for the day's quota of the file's user. None: its owner.

    Raises Refused: ``conflict`` while it still waits or runs, ``media_deleted`` if the file is gone, or because of the
    day's quota.
    """
    with transaction.atomic():
        retention.lock_owner(analyses=analysis.pk)
        row = Analysis.objects.select_for_update().filter(pk=analysis.pk).exclude(status__in=Analysis.ACTIVE).first()
        if row is None:
            raise Refused("conflict", _("This analysis is not finished yet."))
        # Read under the lock, which a clean-up of this file needs, too: either it came first, which shows now, or it
        # will see that the file is needed.
        upload = Upload.objects.select_related("user").get(pk=analysis.upload_id)
        if upload.media_deleted_at is not None:
            raise retention.gone(upload)
        if by is None:
            _charge(upload.user)
        stays = by in (None, upload.user) and _served() in (None, serving.columns_of(row))
        if not stays:
            review.supersede(row, by=by)
        changes = {} if mode is None else {"mode": _mode_for(upload.kind, mode)}
        _reset(row, KEPT | REVIEWED if stays else KEPT, **changes)
        FaceTrack.objects.filter(analysis=analysis.pk).delete()
        # robust: if one of these fails, the others are still done.
        transaction.on_commit(lambda: retention.remove_folder(analysis.folder), robust=True)
        transaction.on_commit(lambda: announce(analysis), robust=True)
        transaction.on_commit(lambda: send(analysis.pk), robust=True)


def _reset(row: Analysis, kept: frozenset[str], **changes: Any) -> None:
    """Every other column as if it had just been sent, but for ``changes``."""
    fresh = Analysis(pk=row.pk, upload_id=row.upload_id)
    names = {field.attname for field in Analysis._meta.concrete_fields} - kept
    values = {name: getattr(fresh, name) for name in names} | changes
    Analysis.objects.filter(pk=row.pk).update(**values, revision=F("revision") + 1)


def delete(*, analysis: Analysis, reason: DeletionReason = DeletionReason.USER) -> None:
    """Remove an analysis with all that was derived, and the file itself once no other analysis needs it.

    Receipts stay. A worker that is at it notices that its row is gone and stops.
    """
    with transaction.atomic():
        retention.lock_owner(analyses=analysis.pk)
        # Locked in the order in which the runner locks them. The upload's row keeps two deletions of sister analyses
        # from both thinking that the other one remains.
        row = Analysis.objects.select_for_update().filter(pk=analysis.pk).first()
        if row is None:
            return
        upload = Upload.objects.select_for_update().get(pk=row.upload_id)
        was_active = row.is_active
        outbox.forget(row)
        if was_active:
            row.status, row.revision = Status.CANCELLED, row.revision + 1
            outbox.record(row)
        idempotency.forget(user_id=upload.user_id, analysis_id=analysis.pk)
        row.delete()
        folder = analysis.folder
        retention.receipt(DeletionReceipt.What.RESULT, upload, reason, analysis_id=analysis.pk)
        if not upload.analyses.exists():
            folder = upload.folder
            if upload.media_deleted_at is None:
                retention.receipt(DeletionReceipt.What.FILE, upload, reason, size=upload.size)
            upload.delete()
        # robust: the rows are gone by then, and that is what was asked for; what stays behind `cleanup.tidy` finds.
        transaction.on_commit(lambda: retention.remove_folder(folder), robust=True)
    if was_active:
        row.pk = analysis.pk
        progress.publish(row.pk, progress.updated(row))


def retry_all(*, analyses: Iterable[Analysis]) -> tuple[int, int]:
    """Analyse several anew. Returns how many were begun and how many were not: they still wait or run, or their file
    is gone.

    Raises Refused once the day's quota is used up.
    """
    begun = refused = 0
    for analysis in analyses:
        try:
            retry(analysis=analysis)
        except Refused as error:
            if error.code not in ("conflict", "media_deleted"):
                raise
            refused += 1
        else:
            begun += 1
    return begun, refused


def delete_all(*, analyses: Iterable[Analysis], reason: DeletionReason = DeletionReason.USER) -> int:
    """Remove several, each in a transaction of its own: one that fails must not bring the others back."""
    deleted = 0
    for analysis in analyses:
        delete(analysis=analysis, reason=reason)
        deleted += 1
    return deleted


def announce(analysis: Analysis) -> None:
    """Tell those who watch what the row says now; nothing if it was deleted in the meantime."""
    try:
        analysis.refresh_from_db()
    except Analysis.DoesNotExist:
        return
    progress.publish(analysis.pk, progress.updated(analysis))


def sweep() -> None:
    """What workers do every now and then: send again what got lost, forget what has served its time."""
    forgotten = _queue_forgot()
    requeue_unfinished(forgotten=forgotten)
    delivery.sweep(forgotten=forgotten)
    if forgotten:
        with suppress(RedisError, OSError):  # then the next sweep sends once more, which is harmless
            cache.set(REMEMBERED, value=True, timeout=None)
    dead_letters.forget_old()
    idempotency.forget_expired()
    quota.forget_old()
    old = Analysis.objects.filter(upload__user__email=open_access.EMAIL)
    old = old.filter(created_at__lt=timezone.now() - open_access.LASTS)
    delete_all(analyses=old, reason=DeletionReason.EXPIRED)


def _queue_forgot() -> bool:
    """Whether Redis began anew since the last sweep. While it is away nobody knows: the first one after that will."""
    try:
        return not settings.EMBEDDED and cache.get(REMEMBERED) is None
    except (RedisError, OSError) as error:
        logger.warning("what the queue remembers is not known: %s", type(error).__name__)
        return False


def requeue_unfinished(*, only_worker: bool = False, forgotten: bool = False) -> int:
    """Find work that got lost and send it again; returns how much.

    Lost is: running with a lease that ran out, queued without a message, queued with a message so old that the
    broker may have lost it.

    Args:
        only_worker: this process is the only worker and has just started, so every running analysis belongs to a
            dead process and every message died with it.
        forgotten: Redis began anew with an empty memory, so every message is lost.
    """
    now = timezone.now()
    lost = Q(status=Status.RUNNING) if only_worker else Q(status=Status.RUNNING, lease_until__lt=now)
    # The dead worker's token must not work any more should it be alive after all.
    Analysis.objects.filter(lost).update(
        status=Status.QUEUED, claim_token=None, lease_until=None, sent_at=None, revision=F("revision") + 1
    )
    waiting = Analysis.objects.filter(status=Status.QUEUED).order_by("created_at")
    if not only_worker:
        # A row without a message is a moment old when its transaction has just been committed.
        unsent = Q(sent_at=None, created_at__lt=now - JUST_NOW)
        waiting = waiting.filter(unsent | Q(sent_at__lt=now if forgotten else now - RESEND_AFTER))
    count = 0
    for analysis_id, sent_at in list(waiting.values_list("pk", "sent_at")):
        if not _take(analysis_id, sent_at):
            continue
        if not _enqueue(analysis_id):
            Analysis.objects.filter(pk=analysis_id, status=Status.QUEUED).update(sent_at=sent_at)
            break  # a broker that is away takes its time to say so, for each row anew
        count += 1
    if count:
        logger.info("sent %d unfinished analyses again", count)
    return count


def _take(analysis_id: uuid.UUID, sent_at: datetime | None) -> bool:
    """Several sweepers may see the same row: the one whose update counts sends."""
    row = Analysis.objects.filter(pk=analysis_id, status=Status.QUEUED, sent_at=sent_at)
    return bool(row.update(sent_at=timezone.now()))
