"""Static files under ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from detection.downloads import FileChunks


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise as an async middleware.

    The original is synchronous: under ASGI it costs every request two changes of thread, and Django warns for
    every static file because a FileResponse is read whole before it is sent.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        super().__init__(get_response)
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self.autorefresh:
            static_file = await asyncio.to_thread(self.find_file, request.path_info)
        else:
            static_file = self.files.get(request.path_info)
        if static_file is None:
            response: HttpResponseBase = await self.get_response(request)
            return response
        return respond(static_file, request)


def respond(static_file: StaticFile, request: HttpRequest) -> HttpResponseBase:
    answer = static_file.get_response(request.method, request.META)
    response: HttpResponseBase
    if answer.file is None:
        response = HttpResponse(status=int(answer.status))
    else:
        response = StreamingHttpResponse(FileChunks(answer.file), status=int(answer.status))
    del response["Content-Type"]
    for key, value in answer.headers:
        response[key] = value
    return response
