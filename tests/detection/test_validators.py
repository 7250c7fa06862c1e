"""Upload rules: each refusal with its code."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.conf import LazySettings
from PIL import Image

from detection import validators
from detection.engine import formats
from detection.problems import Refused
from tests import clips, factories

VIDEOS = ["mp4", "mov", "avi", "mkv", "webm"]
IMAGES = ["jpg", "jpeg", "png", "webp"]


def accept(name: str, content: bytes) -> validators.AcceptedUpload:
    return validators.accept(factories.uploaded(name, content))


def refused(name: str, content: bytes) -> Refused:
    with pytest.raises(Refused) as error:
        accept(name, content)
    return error.value


@pytest.mark.parametrize("extension", VIDEOS)
def test_a_video_of_each_type_is_taken(tmp_path: Path, extension: str):
    path = clips.video(tmp_path / f"clip.{extension}", frames=3)
    taken = accept(path.name, path.read_bytes())
    assert taken.media_type.kind == "video"
    assert taken.media_type.extensions[0] == extension
    assert taken.width is None


@pytest.mark.parametrize("extension", IMAGES)
def test_a_picture_of_each_type_is_taken(tmp_path: Path, extension: str):
    path = clips.picture(tmp_path / f"face.{extension}")
    taken = accept(path.name.upper(), path.read_bytes())
    assert taken.media_type.kind == "image"
    assert (taken.width, taken.height) == (160, 96)


def test_the_list_of_extensions_is_complete():
    assert set(VIDEOS + IMAGES) == set(validators.ALLOWED_EXTENSIONS)
    assert {e for t in formats.FORMATS for e in t.extensions} == set(validators.ALLOWED_EXTENSIONS)


@pytest.mark.parametrize("brand", [b"isom", b"iso5", b"iso6", b"avc1", b"dash", b"mp42", b"M4V ", b"MSNV", b"3gp4"])
def test_every_brand_of_mp4_counts_as_mp4(brand: bytes):
    assert formats.sniff(b"\0\0\0\x18ftyp" + brand + b"\0" * 16) is formats.MP4


@pytest.mark.parametrize("head", [b"\0\0\0\x08wide\0\0\x10\0mdat", b"\0\0\x10\0moov\0\0\0\x6cmvhd"])
def test_a_quicktime_file_older_than_ftyp_is_known(head: bytes):
    assert formats.sniff(head) is formats.QUICKTIME


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_a_phone_picture_is_no_video(brand: bytes):
    assert refused("photo.mp4", b"\0\0\0\x18ftyp" + brand + b"\0" * 16).code == "content_mismatch"


def test_an_empty_file():
    assert refused("clip.mp4", b"").code == "empty_file"


def test_text_that_is_called_a_video():
    error = refused("text.mp4", b"hello, this is only text\n" * 10)
    assert (error.code, error.status) == ("content_mismatch", 415)
    assert "text.mp4" in error.detail


def test_a_picture_that_is_called_a_video():
    assert refused("face.mp4", factories.jpeg()).code == "content_mismatch"


@pytest.mark.parametrize("name", ["notes.txt", "page.html", "drawing.svg", "noextension", ".mp4.exe", "model.pkl"])
def test_a_type_that_is_not_taken(name: str):
    assert refused(name, factories.jpeg()).code == "unsupported_type"


def test_a_file_over_the_limit(settings: LazySettings):
    settings.MAX_UPLOAD_BYTES = 100
    error = refused("face.jpg", factories.jpeg())
    assert (error.code, error.status) == ("file_too_large", 413)


@pytest.mark.parametrize("make", [clips.png_header, clips.jpeg_header])
def test_a_header_that_claims_too_many_pixels(tmp_path: Path, make):
    path = make(tmp_path / "huge.bin", 30_000, 30_000)
    extension = "png" if make is clips.png_header else "jpg"
    error = refused(f"huge.{extension}", path.read_bytes())
    assert (error.code, error.status) == ("too_many_pixels", 413)


def test_a_webp_canvas_of_too_many_pixels(tmp_path: Path):
    path = clips.webp_header(tmp_path / "huge.webp", 16_000, 16_000)
    assert refused("huge.webp", path.read_bytes()).code == "too_many_pixels"


def test_a_picture_of_no_pixels(tmp_path: Path):
    path = clips.png_header(tmp_path / "none.png", 0, 0)
    assert refused("none.png", path.read_bytes()).code == "content_mismatch"


def test_a_picture_with_only_a_signature():
    assert refused("cut.png", b"\x89PNG\r\n\x1a\n").code == "content_mismatch"
    assert refused("cut.jpg", b"\xff\xd8\xff\xe0").code == "content_mismatch"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd.jpg", "passwd.jpg"),
        ("C:\\Users\\me\\face.jpg", "face.jpg"),
        ('a "quoted" `name`.jpg', "a ’quoted’ ’name’.jpg"),
        ("Anna's.jpg", "Anna’s.jpg"),
        ("line\r\nbreak\x00.jpg", "linebreak.jpg"),
        ("evil\u202egpj.exe.jpg", "evilgpj.exe.jpg"),
        ("%22quoted%22 by a browser.jpg", "’quoted’ by a browser.jpg"),
        ("👨\u200d👩\u200d👧 family.jpg", "👨👩👧 family.jpg"),
        ("日本語.jpg", "日本語.jpg"),
        ("  spaced   out .jpg", "spaced out.jpg"),
        (".jpg", "unnamed.jpg"),
        ("x" * 300 + ".jpg", "x" * 196 + ".jpg"),
        ("x" * 300, "x" * 200),
        ("", ""),
    ],
)
def test_names_are_made_safe_to_show(sent: str, shown: str):
    assert validators.clean_name(sent) == shown


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"lossless": False}, {"exif": b"Exif\0\0"}], ids=["VP8L", "VP8", "VP8X"]
)
@pytest.mark.parametrize("size", [(1, 1), (160, 96), (4097, 33)])
def test_the_size_of_a_webp_is_read_as_pillow_reads_it(options: dict, size: tuple[int, int]):
    """Without libwebp, which the web process shall not let a stranger feed."""
    content = io.BytesIO()
    Image.new("RGB", size, "teal").save(content, "WEBP", **options)
    assert formats.webp_size(content.getvalue()[: formats.HEAD_BYTES]) == size


def test_what_a_png_holds_compressed_is_not_unpacked_here():
    """A colour profile of some megabytes, which Pillow unpacks, and refuses, as soon as it opens the file."""
    content = io.BytesIO()
    Image.new("RGB", (160, 96)).save(content, "PNG", icc_profile=bytes(8 << 20))
    taken = accept("face.png", content.getvalue())
    assert (taken.width, taken.height) == (160, 96)


def test_a_png_that_does_not_begin_with_its_header(tmp_path: Path):
    content = clips.png_header(tmp_path / "a.png", 160, 96).read_bytes().replace(b"IHDR", b"tEXt")
    assert refused("face.png", content).code == "content_mismatch"


@pytest.mark.parametrize(
    "head", [b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPALPH" + bytes(20), b"RIFF\0\0\0\0WEBPVP8 " + bytes(20)]
)
def test_a_webp_that_does_not_begin_with_a_picture(head: bytes):
    assert refused("cut.webp", head).code == "content_mismatch"
