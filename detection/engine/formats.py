"""What a file is, told by its first bytes. Its name says nothing.

Used where an upload is accepted (in a process that loads no decoder) and where a file is opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from detection.engine.types import MediaKind

HEAD_BYTES = 4096  # enough for every signature below


class Container(StrEnum):
    """Who reads it: the name of FFmpeg's demuxer or of Pillow's plug-in."""

    MOV = "mov"
    MATROSKA = "matroska"
    AVI = "avi"
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HEIF = "heif"  # known, so that it can be named; nothing here reads it


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file. ``extensions`` are those that its content may carry, the usual one first."""

    kind: MediaKind
    mime: str
    container: Container
    extensions: tuple[str, ...]


# MP4 and QuickTime are one container family (ISO base media), and so are Matroska and WebM (EBML): cameras and
# converters mix up the extensions inside a family, and both are decoded by the same code. Across families a
# wrong extension is a disguise.
MP4 = Format(MediaKind.VIDEO, "video/mp4", Container.MOV, ("mp4", "mov"))
QUICKTIME = Format(MediaKind.VIDEO, "video/quicktime", Container.MOV, ("mov", "mp4"))
AVI = Format(MediaKind.VIDEO, "video/x-msvideo", Container.AVI, ("avi",))
MATROSKA = Format(MediaKind.VIDEO, "video/x-matroska", Container.MATROSKA, ("mkv", "webm"))
WEBM = Format(MediaKind.VIDEO, "video/webm", Container.MATROSKA, ("webm", "mkv"))
JPEG = Format(MediaKind.IMAGE, "image/jpeg", Container.JPEG, ("jpg", "jpeg"))
PNG = Format(MediaKind.IMAGE, "image/png", Container.PNG, ("png",))
WEBP = Format(MediaKind.IMAGE, "image/webp", Container.WEBP, ("webp",))
HEIF = Format(MediaKind.IMAGE, "image/heif", Container.HEIF, ())

FORMATS = (MP4, QUICKTIME, AVI, MATROSKA, WEBM, JPEG, PNG, WEBP)

# Still-picture brands of the ISO container: HEIC and AVIF photos must not pass as video.
_PICTURE_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}
# What a QuickTime file that is older than the `ftyp` box may start with.
_OLD_QUICKTIME_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}


def sniff(head: bytes) -> Format | None:
    """The format of a file that begins with ``head`` (``HEAD_BYTES`` of it), or None.

    puremagic was tried: it knows no MP4 brand but a few (`iso5`, `iso6`, `avc1`, `dash` are unknown to it,
    and those are what browsers and streaming sites write) and answers with a list of guesses.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"RIFF"):
        return {b"WEBP": WEBP, b"AVI ": AVI}.get(head[8:12])
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _sniff_ebml(head)
    return _sniff_iso_media(head)


def _sniff_ebml(head: bytes) -> Format | None:
    """The DocType element (id 0x4282) stands in the EBML header, which comes first and is short."""
    match = re.search(rb"\x42\x82[\x80-\xff](webm|matroska)", head[:256])
    if match is None:
        return None
    return WEBM if match[1] == b"webm" else MATROSKA


def _sniff_iso_media(head: bytes) -> Format | None:
    box, brand = head[4:8], head[8:12]
    if box in _OLD_QUICKTIME_BOXES:
        return QUICKTIME
    if box != b"ftyp":
        return None
    if brand in _PICTURE_BRANDS:
        return HEIF
    return QUICKTIME if brand == b"qt  " else MP4


def png_size(head: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG file's first chunk states, None if it is not the one that must come first.

    Read here, by a process that decodes nothing: Pillow also unpacks what is compressed in other chunks.
    """
    if head[8:16] != b"\0\0\0\x0dIHDR" or len(head) < 24:
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height that a WebP file's first chunk states (RFC 9649), None if it is none that a picture begins with.

    Read here, by a process that decodes nothing: Pillow asks libwebp even for this, with the whole file.
    """
    kind, content = head[12:16], head[20:30]
    if len(content) < 10:
        return None
    if kind == b"VP8X":  # the canvas
        return 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
    if kind == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(content[6:8], "little") & 0x3FFF, int.from_bytes(content[8:10], "little") & 0x3FFF
    if kind == b"VP8L" and content[0] == 0x2F:
        bits = int.from_bytes(content[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
