"""Stored files over HTTP, read the way a browser's video player reads them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.http import HttpResponse
from django.test import AsyncClient

from accounts.models import User
from detection.downloads import UNSATISFIABLE, parse_range
from detection.models import Analysis
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


async def body(response: HttpResponse) -> bytes:
    return b"".join([chunk async for chunk in response]) if response.streaming else response.content


@pytest.fixture
def analysis(owner: User, media_root: Path) -> Analysis:
    """A video whose byte at position n is n modulo 251, large enough for several chunks."""
    upload = factories.make_upload(owner, name="My “clip” ü.mp4", kind="video", mime="video/mp4")
    content = bytes(n % 251 for n in range(600_000))
    (media_root / upload.file.name).write_bytes(content)
    return factories.make_analysis(upload=upload)


@pytest.fixture
def content(analysis: Analysis, media_root: Path) -> bytes:
    return (media_root / analysis.upload.file.name).read_bytes()


@pytest.fixture
def client(owner: User, async_client_of: Callable[[User], AsyncClient]) -> AsyncClient:
    return async_client_of(owner)


async def test_the_whole_file(client: AsyncClient, analysis: Analysis, content: bytes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        response = await client.get(f"/media/{analysis.pk}/source")
        assert await body(response) == content
    assert response.status_code == 200
    assert response["Content-Length"] == str(len(content))
    assert response["Content-Type"] == "video/mp4"
    assert response["Accept-Ranges"] == "bytes"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-cache"
    assert response["Content-Disposition"].startswith("inline; filename*=utf-8''My%20")
    assert response["ETag"]
    assert response["Last-Modified"]


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 599_999),
        ("bytes=100-299999", 100, 299_999),
        ("bytes=599999-", 599_999, 599_999),
        ("bytes=500000-9999999", 500_000, 599_999),
        ("bytes=-5", 599_995, 599_999),
        ("bytes=-9999999", 0, 599_999),
    ],
)
async def test_a_range(client: AsyncClient, analysis: Analysis, content: bytes, wanted: str, start: int, end: int):
    response = await client.get(f"/media/{analysis.pk}/source", headers={"Range": wanted})
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes {start}-{end}/600000"
    assert response["Content-Length"] == str(end - start + 1)
    assert await body(response) == content[start : end + 1]


@pytest.mark.parametrize("wanted", ["bytes=600000-", "bytes=700000-800000", "bytes=-0"])
async def test_a_range_outside_of_the_file(client: AsyncClient, analysis: Analysis, wanted: str):
    response = await client.get(f"/media/{analysis.pk}/source", headers={"Range": wanted})
    assert response.status_code == 416
    assert response["Content-Range"] == "bytes */600000"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=5-1", "bytes=-", "lines=1-2", "bytes=a-b", "nonsense"])
async def test_a_range_that_may_be_ignored(client: AsyncClient, analysis: Analysis, content: bytes, wanted: str):
    response = await client.get(f"/media/{analysis.pk}/source", headers={"Range": wanted})
    assert response.status_code == 200
    assert await body(response) == content


async def test_head_tells_without_sending(client: AsyncClient, analysis: Analysis):
    response = await client.head(f"/media/{analysis.pk}/source")
    assert (response.status_code, response["Content-Length"], response.content) == (200, "600000", b"")
    response = await client.head(f"/media/{analysis.pk}/source", headers={"Range": "bytes=0-9"})
    assert (response.status_code, response["Content-Length"]) == (206, "10")


async def test_what_the_browser_has_is_not_sent_again(client: AsyncClient, analysis: Analysis, media_root: Path):
    address = f"/media/{analysis.pk}/source"
    first = await client.head(address)
    again = await client.get(address, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    again = await client.get(address, headers={"If-Modified-Since": first["Last-Modified"]})
    assert again.status_code == 304
    (media_root / analysis.upload.file.name).write_bytes(b"changed")
    again = await client.get(address, headers={"If-None-Match": first["ETag"]})
    assert await body(again) == b"changed"


async def test_a_range_of_a_file_that_has_changed_is_the_whole_file(client: AsyncClient, analysis: Analysis):
    address = f"/media/{analysis.pk}/source"
    etag = (await client.head(address))["ETag"]
    assert (await client.head(address, headers={"Range": "bytes=0-9", "If-Range": etag})).status_code == 206
    assert (await client.head(address, headers={"Range": "bytes=0-9", "If-Range": '"old"'})).status_code == 200


async def test_derived_pictures(client: AsyncClient, analysis: Analysis, media_root: Path):
    for name, mime in [("faces/0.jpg", "image/jpeg"), ("heatmaps/12.png", "image/png"), ("tracks/3.jpg", "image/jpeg")]:
        path = media_root / analysis.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        response = await client.get(f"/media/{analysis.pk}/{name}")
        assert response["Content-Type"] == mime
        assert await body(response) == name.encode()


@pytest.mark.parametrize(
    "name",
    [
        "source.mp4",
        "source/",
        "faces/",
        "faces/1.png",
        "faces/x.jpg",
        "faces/../source.jpg",
        "faces/%2e%2e/%2e%2e/source.jpg",
        "../../db.sqlite3",
        "/etc/passwd",
        "heatmaps/1.png\n",
        "faces/99.jpg",
    ],
)
async def test_no_other_name_leads_to_a_file(client: AsyncClient, analysis: Analysis, name: str):
    assert (await client.get(f"/media/{analysis.pk}/{name}")).status_code == 404


async def test_a_file_that_is_gone_from_the_disk(client: AsyncClient, analysis: Analysis, media_root: Path):
    (media_root / analysis.upload.file.name).unlink()
    assert (await client.get(f"/media/{analysis.pk}/source")).status_code == 404


@pytest.mark.parametrize("mime", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", ""])
async def test_a_type_that_is_not_known_is_never_shown_in_the_page(client: AsyncClient, analysis: Analysis, mime: str):
    """Rows of an older version may hold types that are not taken any more; these can carry scripts."""
    analysis.upload.mime = mime
    await analysis.upload.asave()
    response = await client.get(f"/media/{analysis.pk}/source")
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment")
    await body(response)


@pytest.fixture
def strangers_client(stranger: User, async_client_of: Callable[[User], AsyncClient]) -> AsyncClient:
    return async_client_of(stranger)


async def test_with_nginx_in_front_it_only_points_to_what_may_be_read(
    client: AsyncClient,
    analysis: Analysis,
    strangers_client: AsyncClient,
    media_root: Path,
    settings: LazySettings,
):
    """tests/config/test_proxy.py has the other half."""
    settings.X_ACCEL = "/protected-media/"
    address = f"/media/{analysis.pk}/source"
    response = await client.get(address)
    assert response["X-Accel-Redirect"] == f"/protected-media/{analysis.upload.file.name}"
    assert (response.status_code, response.content) == (200, b"")
    assert response["Content-Type"] == "video/mp4"
    refused = await strangers_client.get(address)
    assert (refused.status_code, refused.has_header("X-Accel-Redirect")) == (404, False)
    (media_root / analysis.upload.file.name).unlink()
    gone = await client.get(address)
    assert (gone.status_code, gone.has_header("X-Accel-Redirect")) == (404, False)


async def test_writing_methods_are_not_allowed(client: AsyncClient, analysis: Analysis):
    assert (await client.post(f"/media/{analysis.pk}/source")).status_code == 405


@pytest.mark.parametrize(
    ("header", "expected"),
    [("bytes=1-3", (1, 3)), ("bytes=-3", (7, 3)), ("bytes=10-", UNSATISFIABLE), ("bytes=0-" + "9" * 30, None)],
)
def test_reading_the_header(header: str, expected: tuple[int, int] | None):
    assert parse_range(header, 10) == expected
