"""Repairs what disagrees between rows and disk: what a killed process, a full disk or a restored backup leaves behind.

Only what this program makes is touched: folders named by an upload's id, ``.trash-*``, ``.incoming``. Young things are
left alone, because somebody may be at work on them. "Disk" is whatever ``storage.store()`` says: of a bucket, too.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from config.uploads import incoming
from detection import retention, storage
from detection.cleanup.each import each
from detection.models import Analysis, DeletionReason, DeletionReceipt, Upload

logger = logging.getLogger(__name__)

YOUNG = timedelta(hours=1)  # an upload's folder is there before its row; what is written is done within minutes
BATCH = 500


class WrongFolderError(OSError):
    """Nothing that the rows speak of is in the media folder."""

    def __init__(self) -> None:
        super().__init__(f"{storage.store().where} has none of the files that it should have; is it mounted?")


@dataclass(frozen=True, slots=True)
class Tidied:
    """How many were repaired, or would be."""

    missing_files: int  # rows that spoke of a file that is not there
    missing_pictures: int  # analyses that spoke of pictures that are not there
    empty_uploads: int  # uploads without an analysis
    trash: int  # folders whose removal was interrupted
    partial_uploads: int  # files that had arrived half when the server was stopped
    orphan_folders: int  # folders of uploads without a row
    leftovers: int  # files and folders in an upload's folder that nothing speaks of


def tidy(*, dry_run: bool = False) -> Tidied:
    """Find and repair everything. Raises WrongFolderError."""
    _require_our_folder(dry_run=dry_run)
    young = timezone.now() - YOUNG
    # Rows first: what they let go of, the walk through the folders need not find.
    done = Tidied(
        missing_files=each(
            _missing_files(), partial(retention.delete_file, reason=DeletionReason.MISSING), dry_run=dry_run
        ),
        missing_pictures=each(
            _missing_pictures(), partial(retention.delete_pictures, reason=DeletionReason.MISSING), dry_run=dry_run
        ),
        empty_uploads=each(
            Upload.objects.filter(analyses=None, created_at__lt=young).values_list("pk", flat=True),
            _drop_upload,
            dry_run=dry_run,
        ),
        trash=each(storage.store().trash(YOUNG), _call, dry_run=dry_run),
        partial_uploads=each(_half_arrived(), Path.unlink, dry_run=dry_run)
        + each(storage.store().unfinished(storage.ARRIVING), _call, dry_run=dry_run),
        orphan_folders=each(_orphan_folders(), retention.remove_folder, dry_run=dry_run),
        leftovers=each(_leftovers(), _remove, dry_run=dry_run),
    )
    if not dry_run and any(asdict(done).values()):
        logger.warning("media folder repaired: %s", done)
    return done


# -- Rows without files -----------------------------------------------------------------------------------------------


def _require_our_folder(*, dry_run: bool) -> None:
    """Or a folder that is not mounted would look as if every file were missing, and all would be written off."""
    if storage.store().is_marked():
        return
    there = Upload.objects.filter(media_deleted_at=None)
    expected = list(there.order_by("-created_at")[:BATCH])
    if any(storage.source(upload).exists() for upload in expected):
        # Only now: the empty folder of a second machine that was to see the first one's is not to be believed later.
        if not dry_run:
            storage.store().mark()
    # A row lets go of its file before the file goes: whoever deleted these since they were listed has said so.
    elif there.filter(pk__in=[upload.pk for upload in expected]).exists():
        raise WrongFolderError


def _missing_files() -> Iterator[uuid.UUID]:
    there = Upload.objects.filter(media_deleted_at=None).exclude(analyses__status__in=Analysis.ACTIVE)
    return (upload.pk for upload in there.order_by().iterator() if not storage.source(upload).exists())


def _missing_pictures() -> Iterator[uuid.UUID]:
    speaks = Q(tracks__has_thumbnail=True) | Q(tracks__scores__has_pictures=True)
    there = Analysis.objects.filter(speaks, status=Analysis.Status.SUCCEEDED, pictures_deleted_at=None)
    has_folder = storage.store().has_folder
    return (row.pk for row in there.order_by().distinct().only("pk", "upload_id") if not has_folder(row.folder))


def _drop_upload(upload_id: uuid.UUID) -> bool:
    with transaction.atomic():
        retention.lock_owner(pk=upload_id)
        upload = Upload.objects.select_for_update().filter(pk=upload_id).first()
        if upload is None or upload.analyses.exists():
            return False
        if upload.media_deleted_at is None:
            retention.receipt(DeletionReceipt.What.FILE, upload, DeletionReason.EXPIRED, size=upload.size)
        folder = upload.folder
        upload.delete()
        transaction.on_commit(partial(retention.remove_folder, folder), robust=True)
    return True


# -- Files without rows -----------------------------------------------------------------------------------------------


def _half_arrived() -> Iterator[Path]:
    """On this machine, whatever lies where afterwards."""
    return storage.older(incoming().glob("*"), storage.ARRIVING, lambda path: path.lstat().st_ctime)


def _call(act: Callable[[], object]) -> object:
    return act()


def _upload_folders() -> Iterator[list[PurePosixPath]]:
    """Folders that are named by an id, some at a time."""
    folders = (folder for folder in storage.store().folders() if _id_of(folder.name))
    while batch := list(islice(folders, BATCH)):
        yield batch


def _id_of(name: str) -> uuid.UUID | None:
    try:
        found = uuid.UUID(name)
    except ValueError:
        return None
    return found if str(found) == name else None


def _orphan_folders() -> Iterator[str]:
    for folders in _upload_folders():
        names = [folder.name for folder in folders]
        known = {str(pk) for pk in Upload.objects.filter(pk__in=names).values_list("pk", flat=True)}
        orphans = [folder for folder in folders if folder.name not in known]
        yield from (folder.name for folder in storage.older(orphans, YOUNG, storage.store().changed))


def _leftovers() -> Iterator[PurePosixPath]:
    for folders in _upload_folders():
        inside = [(folder, entry) for folder in folders for entry in storage.store().inside(folder)]
        uploads = Upload.objects.in_bulk([folder.name for folder in folders])
        kept = {str(upload.file.name) for upload in uploads.values() if upload.media_deleted_at is None}
        for analysis in Analysis.objects.filter(upload__in=uploads, pictures_deleted_at=None):
            kept |= storage.store().kept(analysis)
        # A folder without an upload is an orphan as a whole.
        known = (entry for folder, entry in inside if uuid.UUID(folder.name) in uploads)
        yield from storage.older((entry for entry in known if str(entry) not in kept), YOUNG, storage.store().changed)


def _remove(name: PurePosixPath) -> None:
    analysis_id = _id_of(name.name)
    if not storage.store().is_folder(name):
        storage.store().stored(str(name)).unlink(missing_ok=True)
    elif analysis_id is not None:
        retention.remove_pictures(analysis_id, str(name))
    else:
        retention.remove_folder(str(name))
