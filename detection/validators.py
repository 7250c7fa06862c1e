"""Upload rules. Every refusal has a stable code, see ``detection.problems``."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from django.conf import settings
from django.core.files import File
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from PIL import Image, UnidentifiedImageError

from detection.engine.formats import HEAD_BYTES, PNG, WEBP, Format, png_size, sniff, webp_size
from detection.engine.types import MediaKind
from detection.problems import Refused

NAME_LENGTH = 200
INVISIBLE = {"Cc", "Cf", "Cs", "Co"}  # not Cn: an emoji that is newer than this Python is "unassigned"


ALLOWED_EXTENSIONS = ("mp4", "avi", "mov", "mkv", "webm", "jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True)
class AcceptedUpload:
    """A file that keeps the rules. Only ``accept`` makes one, so nothing unchecked can be submitted."""

    file: UploadedFile[bytes]
    name: str
    media_type: Format
    width: int | None  # pixels as stored; None for a video, whose header only the worker reads
    height: int | None


class HashedFile(File):
    """Passes chunks on to the storage and adds up their hash, so that the file is read once."""

    def __init__(self, file: UploadedFile[bytes]) -> None:
        super().__init__(file, name=file.name)
        self._sha256 = hashlib.sha256()
        self.bytes_read = 0

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        self._sha256 = hashlib.sha256()
        self.bytes_read = 0
        for chunk in super().chunks(chunk_size):
            self._sha256.update(chunk)
            self.bytes_read += len(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def accept(file: UploadedFile[bytes]) -> AcceptedUpload:
    """Check one uploaded file.

    Raises:
        Refused: with the code of the first rule that it breaks.
    """
    name = clean_name(file.name or "")
    extension = PurePosixPath(name).suffix.lower().removeprefix(".")
    if extension not in ALLOWED_EXTENSIONS:
        raise Refused(
            "unsupported_type",
            _("“%(name)s” is not of a type that can be checked: %(types)s.")
            % {"name": name, "types": ", ".join(ALLOWED_EXTENSIONS)},
        )
    if not file.size:
        raise Refused("empty_file", _("“%(name)s” is empty.") % {"name": name})
    if file.size > settings.MAX_UPLOAD_BYTES:
        raise Refused(
            "file_too_large",
            _("“%(name)s” is %(size)s; at most %(limit)s are taken.")
            % {"name": name, "size": filesizeformat(file.size), "limit": filesizeformat(settings.MAX_UPLOAD_BYTES)},
        )
    file.seek(0)
    media_type = sniff(file.read(HEAD_BYTES))
    if media_type is None or extension not in media_type.extensions:
        says = _("“%(name)s” says it is %(extension)s, but its content is %(found)s.")
        if media_type is None:
            says = _("“%(name)s” says it is %(extension)s, but its content is no video or picture of a known type.")
        found = media_type.mime if media_type else ""
        raise Refused("content_mismatch", says % {"name": name, "extension": extension, "found": found})
    width, height = picture_size(file, name, media_type)
    file.seek(0)
    return AcceptedUpload(file, name, media_type, width, height)


def picture_size(file: IO[bytes], name: str, media_type: Format) -> tuple[int, int] | tuple[None, None]:
    """Width and height by the header alone; nothing is decoded, and no parser that is not Python sees the file.

    Raises:
        Refused: ``too_many_pixels``, or ``content_mismatch`` when the header makes no sense.
    """
    if media_type.kind is not MediaKind.IMAGE:
        return None, None
    file.seek(0)
    limit = _("“%(name)s” has more than %(limit)d megapixels.")
    too_many = Refused("too_many_pixels", limit % {"name": name, "limit": settings.MAX_PIXELS // 1_000_000})
    try:
        with warnings.catch_warnings():
            # Pillow's own limit only warns; ours, below, refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = _header_size(file, media_type)
    except Image.DecompressionBombError:
        raise too_many from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        # Pillow's header parsers raise all of these for broken files.
        damaged = _("“%(name)s” is a damaged picture: its header cannot be read.")
        raise Refused("content_mismatch", damaged % {"name": name}) from None
    if width < 1 or height < 1:
        nothing = _("“%(name)s” says that it is %(width)d × %(height)d pixels.")
        raise Refused("content_mismatch", nothing % {"name": name, "width": width, "height": height})
    if width * height > settings.MAX_PIXELS:
        raise too_many
    return width, height


def _header_size(file: IO[bytes], media_type: Format) -> tuple[int, int]:
    read = {PNG: png_size, WEBP: webp_size}.get(media_type)
    if read is None:
        return Image.open(file, formats=["JPEG"]).size  # whose header Pillow reads in Python
    size = read(file.read(HEAD_BYTES))
    if size is None:
        raise UnidentifiedImageError("no chunk that such a picture begins with")
    return size


def clean_name(name: str) -> str:
    """A name that is safe to show and to put into a header; it is never used as a path.

    Folders are cut off, invisible characters dropped (Django's parser does so before us), straight quotes (%22 is
    how browsers send one) become typographic ones, and long names lose the end of their stem, not their extension.
    """
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c for c in name if unicodedata.category(c) not in INVISIBLE)
    name = re.sub(
        r"[\"'`]|%22", "’", name
    )  # browsers write %22 for a quote, so that it does not end the header's value
    name = re.sub(r"\s+", " ", name).strip()
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 10:
        return name[:NAME_LENGTH]
    return (stem or "unnamed")[: NAME_LENGTH - len(extension) - 1].rstrip() + "." + extension
