"""Repairs what disagrees between rows and disk: what a killed process, a full disk or a restored backup leaves behind.

Only what this program makes is touched: folders named by an upload's id, ``.trash-*``, ``.incoming``. Young things are
left alone, because somebody may be at work on them.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from config.uploads import incoming
from detection import retention
from detection.cleanup.each import each
from detection.models import Analysis, DeletionReason, DeletionReceipt, Upload
from detection.retention import storage

logger = logging.getLogger(__name__)

YOUNG = timedelta(hours=1)  # an upload's folder is there before its row; what is written is done within minutes
BATCH = 500
MARK = ".veriframe"  # says that this is the folder that the rows speak of, and not an empty one in its place


class WrongFolderError(OSError):
    """Nothing that the rows speak of is in the media folder."""

    def __init__(self) -> None:
        super().__init__(f"{storage.root()} has none of the files that it should have; is it mounted?")


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
        trash=each(_old(storage.root().glob(f"{storage.TRASH}*"), YOUNG), storage.burn, dry_run=dry_run),
        partial_uploads=each(_old(incoming().glob("*"), storage.ARRIVING), Path.unlink, dry_run=dry_run),
        orphan_folders=each(_orphan_folders(), retention.remove_folder, dry_run=dry_run),
        leftovers=each(_leftovers(), _remove, dry_run=dry_run),
    )
    if not dry_run and any(asdict(done).values()):
        logger.warning("media folder repaired: %s", done)
    return done


# -- Rows without files -----------------------------------------------------------------------------------------------


def _require_our_folder(*, dry_run: bool) -> None:
    """Or a folder that is not mounted would look as if every file were missing, and all would be written off."""
    mark = storage.root() / MARK
    if mark.exists():
        return
    there = Upload.objects.filter(media_deleted_at=None)
    expected = list(there.order_by("-created_at")[:BATCH])
    lost = [upload.pk for upload in expected if not storage.source(upload).exists()]
    # A row lets go of its file before the file goes: whoever deleted these since they were listed has said so.
    if lost and len(lost) == len(expected) and there.filter(pk__in=lost).exists():
        raise WrongFolderError
    if not dry_run:
        mark.touch(mode=0o600)


def _missing_files() -> Iterator[uuid.UUID]:
    there = Upload.objects.filter(media_deleted_at=None).exclude(analyses__status__in=Analysis.ACTIVE)
    return (upload.pk for upload in there.order_by().iterator() if not storage.source(upload).exists())


def _missing_pictures() -> Iterator[uuid.UUID]:
    speaks = Q(tracks__has_thumbnail=True) | Q(tracks__scores__has_pictures=True)
    there = Analysis.objects.filter(speaks, status=Analysis.Status.SUCCEEDED, pictures_deleted_at=None)
    return (row.pk for row in there.order_by().distinct().only("pk", "upload_id") if not storage.exists(row.folder))


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


def _old(paths: Iterable[Path], age: timedelta) -> Iterator[Path]:
    """Those that nothing has happened to for a while, a move included."""
    limit = time.time() - age.total_seconds()
    for path in paths:
        try:
            if path.lstat().st_ctime < limit:
                yield path
        except FileNotFoundError:
            continue  # somebody else removes it


def _upload_folders() -> Iterator[list[Path]]:
    """Folders that are named by an id, some at a time."""
    with os.scandir(storage.root()) as entries:
        folders = (Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False) and _id_of(entry.name))
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
        yield from (folder.name for folder in _old(folders, YOUNG) if folder.name not in known)


def _leftovers() -> Iterator[Path]:
    for folders in _upload_folders():
        inside = [entry for folder in folders for entry in _inside(folder)]
        uploads = Upload.objects.in_bulk([folder.name for folder in folders])
        analyses = Analysis.objects.filter(upload__in=uploads, pictures_deleted_at=None)
        kept = {f"{upload_id}/{pk}" for upload_id, pk in analyses.values_list("upload_id", "pk")}
        kept |= {
            f"{upload_id}/.{pk}-{token}"
            for upload_id, pk, token in analyses.filter(status=Analysis.Status.RUNNING).values_list(
                "upload_id", "pk", "claim_token"
            )
        }
        kept |= {str(upload.file.name) for upload in uploads.values() if upload.media_deleted_at is None}
        # A folder without an upload is an orphan as a whole.
        known = (entry for entry in inside if uuid.UUID(entry.parent.name) in uploads)
        yield from _old((entry for entry in known if f"{entry.parent.name}/{entry.name}" not in kept), YOUNG)


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []  # deleted since it was listed


def _remove(path: Path) -> None:
    analysis_id, folder = _id_of(path.name), str(path.relative_to(storage.root()))
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif analysis_id is not None:
        retention.remove_pictures(analysis_id, folder)
    else:
        retention.remove_folder(folder)
