"""Everything goes away: the file first, its pictures later, the result last; see ``periods`` and ``ending``."""

from detection.retention.ending import (
    delete_file,
    delete_pictures,
    end_now,
    extend,
    extension,
    hold,
    receipt,
    release,
    remove_pictures,
)
from detection.retention.periods import (
    checked,
    choose_usual,
    ended,
    file_due,
    gone,
    keep_for,
    kept_for,
    lock_owner,
    moment,
    offered,
    usual,
    why_gone,
)
from detection.storage import remove_folder

__all__ = [
    "checked",
    "choose_usual",
    "delete_file",
    "delete_pictures",
    "end_now",
    "ended",
    "extend",
    "extension",
    "file_due",
    "gone",
    "hold",
    "keep_for",
    "kept_for",
    "lock_owner",
    "moment",
    "offered",
    "receipt",
    "release",
    "remove_folder",
    "remove_pictures",
    "usual",
    "why_gone",
]
