"""WebSockets: news about one analysis for the user whose it is."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.utils import translation

from config.languages import language_of
from detection import progress, selectors
from detection.models import Analysis
from detection.reports import words
from detection.review import audit

NOT_FOUND = 4404  # close code for everybody who may not see it, whether it exists or not


class AnalysisConsumer(AsyncJsonWebsocketConsumer):
    """Sends a snapshot, then every event. What the client sends is ignored."""

    group = ""
    seen = 0  # revision of the snapshot

    async def connect(self) -> None:
        analysis_id = self.scope["url_route"]["kwargs"]["analysis_id"]
        # First join, then read, then send: an update between the two is in the snapshot, in the queue, or in both,
        # and `revision` tells the last case. No update falls between.
        self.group = progress.group_name(analysis_id)
        await self.channel_layer.group_add(self.group, self.channel_name)
        # A token is its owner's, for what is the owner's: only a browser's session is a reviewer.
        analysis = await _find(self.scope["user"], analysis_id, as_reviewer=not self.scope.get("by_token"))
        if analysis is None:
            # Leave first: an event that arrives after the refusal could not be sent.
            await self.channel_layer.group_discard(self.group, self.channel_name)
            await self.close(code=NOT_FOUND)
            return
        self.seen = analysis.revision
        await self.accept()
        await self.tell(progress.snapshot(analysis))

    async def disconnect(self, code: int) -> None:
        del code
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """There is nothing to ask for here."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Not even parsed."""

    async def analysis_event(self, message: dict[str, Any]) -> None:
        for event in message["events"]:
            if event["revision"] > self.seen:
                await self.tell(event)

    async def tell(self, event: Mapping[str, Any]) -> None:
        """Events come in the engine's language, from a worker that knows no reader."""
        with translation.override(language_of(self.scope)):
            content = words.event(event)
        await self.send_json(content)


@database_sync_to_async
def _find(user: Any, analysis_id: uuid.UUID, *, as_reviewer: bool) -> Analysis | None:
    """That a reviewer watches what is somebody else's is noted, as with files."""
    analysis = selectors.find_analysis(user, analysis_id, as_reviewer=as_reviewer)
    if analysis is not None and analysis.upload.user_id != user.pk:
        audit.note_reading(reader=user, analysis=analysis)
    return analysis


class NotFoundConsumer(AsyncJsonWebsocketConsumer):
    """Every other address; without it the server would log an exception."""

    async def connect(self) -> None:
        await self.close(code=NOT_FOUND)
