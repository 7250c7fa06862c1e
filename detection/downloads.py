"""Stored files over HTTP: which file a name means, and ranges of it, so that a video can be sought in."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from django.conf import settings
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, http_date

from detection import retention, storage
from detection.engine.formats import FORMATS
from detection.models import Analysis
from detection.problems import Page, refusal_response, wants_json

CHUNK = 256 * 1024
SENT = {known.mime for known in FORMATS}  # by users
INLINE = SENT | {"image/svg+xml"}  # the latter is ours: plots of the model
DERIVED = re.compile(r"(faces|tracks)/\d{1,9}\.jpg|heatmaps/\d{1,9}\.png")


def forget_cached(response: Page) -> Page:
    """Have the browser drop what it has kept of files that are deleted now. Returns ``response``."""
    response["Clear-Site-Data"] = '"cache"'
    return response


@dataclass(frozen=True, slots=True)
class Download:
    """A stored file and what to say about it."""

    path: storage.Stored
    mime: str
    name: str


def locate(analysis: Analysis, name: str) -> Download | None:
    """What ``name`` means in the address of a file of this analysis. It is looked up, never used as a path."""
    if name == "source":
        upload = analysis.upload
        mime = upload.mime if upload.mime in SENT else "application/octet-stream"
        return Download(storage.source(upload), mime, upload.name)
    if DERIVED.fullmatch(name):
        mime = "image/png" if name.endswith(".png") else "image/jpeg"
        return Download(storage.store().picture(analysis, name), mime, name.replace("/", "-"))
    return None


def answer(request: HttpRequest, analysis: Analysis, name: str) -> HttpResponseBase:
    """A file of an analysis, or 410 if it was deleted. Raises Http404 if there never was such a file."""
    found = locate(analysis, name)
    if found is None:
        raise Http404
    try:
        return serve(request, found)
    except Http404:
        refused = retention.why_gone(analysis, is_source=name == "source")
        if refused is None:
            raise
    if wants_json(request):
        return refusal_response(refused)
    return render(request, "410.html", {"detail": refused.detail, "analysis": analysis}, status=refused.status)


def serve(request: HttpRequest, download: Download) -> HttpResponseBase:
    """Answer GET or HEAD with the file, a range of it (206, 416), or 304. Raises Http404 if it is gone."""
    path = download.path
    if isinstance(path, storage.Remote):
        return _elsewhere(request, path, download)
    if settings.X_ACCEL and path.is_relative_to(settings.MEDIA_ROOT):  # not so what belongs to the model
        return _describe(_by_nginx(path), download)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise Http404 from None
    stat = os.fstat(file.fileno())
    etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    unchanged = get_conditional_response(request, etag, int(stat.st_mtime))
    if unchanged is not None:
        file.close()
        response: HttpResponseBase = unchanged
    else:
        response = _content(request, file, stat.st_size, etag)
        response["Last-Modified"] = http_date(stat.st_mtime)
    response["ETag"] = etag
    return _describe(response, download)


def _elsewhere(request: HttpRequest, file: storage.Remote, download: Download) -> HttpResponseBase:
    """Who may read it is decided; whoever this answer reaches reads it from the bucket, ranges too, and not for long.

    The bucket says of the file what we say of it. It cannot be told to say `nosniff`, but its pages are not ours: what
    is no picture or video of a known type is saved and never shown there either.
    """
    if not file.exists():
        raise Http404  # the bucket would say so in its own words
    mime, disposition = _said(download)
    response = HttpResponseRedirect(file.address(str(request.method), mime=mime, disposition=disposition))
    response["Cache-Control"] = "private, no-store"  # the address does not last
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def _by_nginx(path: Path) -> HttpResponseBase:
    """Who may read it is decided; ranges, conditions and the bytes are left to the proxy in front.

    nginx keeps our type, disposition and caching, and drops our other headers: its own configuration says those
    again (config/deploy/nginx/site.conf).
    """
    if not path.is_file():
        raise Http404  # nginx would say so in its own words
    inside = path.relative_to(settings.MEDIA_ROOT).as_posix()
    return HttpResponse(headers={"X-Accel-Redirect": settings.X_ACCEL + quote(inside)})


def _said(download: Download) -> tuple[str, str]:
    """Content type and disposition: what browsers may show, and everything else as bytes to be saved."""
    inline = download.mime in INLINE
    mime = download.mime if inline else "application/octet-stream"
    return mime, content_disposition_header(not inline, download.name) or "inline"


def _describe(response: HttpResponseBase, download: Download) -> HttpResponseBase:
    response["Content-Type"], response["Content-Disposition"] = _said(download)
    response["Accept-Ranges"] = "bytes"
    # Private, and asked for again each time: a new run puts new pictures under the same address.
    response["Cache-Control"] = "private, no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def _content(request: HttpRequest, file: BinaryIO, size: int, etag: str) -> HttpResponseBase:
    start, length, status = 0, size, 200
    wanted = request.headers.get("Range")
    if wanted and request.headers.get("If-Range", etag) == etag:
        found = parse_range(wanted, size)
        if found == UNSATISFIABLE:
            file.close()
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
        if found is not None:
            (start, length), status = found, 206
    response: HttpResponseBase
    if request.method == "HEAD":
        file.close()
        response = HttpResponse(status=status)
    else:
        response = StreamingHttpResponse(FileChunks(file, start, length), status=status)
    response["Content-Length"] = str(length)
    if status == 206:
        response["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return response


UNSATISFIABLE = (-1, -1)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and length of a single byte range.

    None for what RFC 9110 lets a server ignore (several ranges, other units, nonsense); ``UNSATISFIABLE`` for a
    range outside the file.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        length = min(int(last), size)
        return (size - length, length) if length else UNSATISFIABLE
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    return (start, end - start + 1) if start < size else UNSATISFIABLE


class FileChunks:
    """A stretch of an open file as an async iterator; Django closes it with the response.

    Django's FileResponse is synchronous: under ASGI it would be read whole into memory before it is sent.
    """

    def __init__(self, file: BinaryIO, start: int = 0, length: int | None = None) -> None:
        self._file = file
        self._start = start
        self._left = length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.to_thread(self._file.seek, self._start)
        while True:
            chunk = await asyncio.to_thread(self._file.read, CHUNK if self._left is None else min(CHUNK, self._left))
            if not chunk:
                return
            if self._left is not None:
                self._left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._file.close()
