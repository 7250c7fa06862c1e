"""WebSockets: news about one analysis for the user whose it is."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.db import DatabaseError
from django.utils import translation
from redis.exceptions import RedisError

from accounts import sockets
from config.languages import language_of
from detection import progress, selectors
from detection.models import Analysis
from detection.reports import words
from detection.review import audit

logger = logging.getLogger(__name__)

NOT_FOUND = 4404  # close code for everybody who may not see it, whether it exists or not


class AnalysisConsumer(AsyncJsonWebsocketConsumer):
    """Sends a snapshot, then every event, as long as whoever listens may see the analysis. What the client sends is
    ignored."""

    groups_joined: tuple[str, ...] = ()
    seen = 0  # revision of the snapshot
    asking: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        user = await sockets.present_user(self.scope)
        # First join, then read, then send: an update between the two is in the snapshot, in the queue, or in both,
        # and `revision` tells the last case. No update falls between, and no end of the user's session either.
        self.groups_joined = (progress.group_name(self.analysis_id), sockets.group_name(user))
        for group in self.groups_joined:
            await self.channel_layer.group_add(group, self.channel_name)
        analysis = await self.visible()
        if analysis is None:
            await self.refuse()
            return
        self.seen = analysis.revision
        await self.accept()
        await self.tell(progress.snapshot(analysis))
        self.asking = asyncio.create_task(self._ask_now_and_then())

    @property
    def analysis_id(self) -> uuid.UUID:
        found: uuid.UUID = self.scope["url_route"]["kwargs"]["analysis_id"]
        return found

    async def visible(self) -> Analysis | None:
        """The analysis, if whoever has opened this may see it now.

        A token is its owner's, for what is the owner's: only a browser's session is a reviewer.
        """
        user = await sockets.present_user(self.scope)
        return await _find(user, self.analysis_id, as_reviewer=not self.scope.get("by_token"))

    async def refuse(self) -> None:
        # Leave first: an event that arrives after the refusal could not be sent.
        await self.leave()
        await self.close(code=NOT_FOUND)

    async def leave(self) -> None:
        for group in self.groups_joined:
            await self.channel_layer.group_discard(group, self.channel_name)
        self.groups_joined = ()

    async def disconnect(self, code: int) -> None:
        del code
        if self.asking is not None:
            self.asking.cancel()
        await self.leave()

    async def rights_changed(self, message: dict[str, Any]) -> None:
        """The user signed out somewhere, or lost a right: see whether this socket is meant."""
        del message
        try:
            if self.groups_joined and await self.visible() is None:
                await self.refuse()
        except DatabaseError as error:
            # Every event is a row first: while there are no rows to ask, there is nothing to tell either.
            logger.warning("socket of analysis %s: asks later, %s", self.analysis_id, type(error).__name__)

    async def _ask_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(sockets.ASK_EVERY)
            # As a message to oneself: it is answered between two events, and never while one is being sent.
            try:
                await self.channel_layer.send(self.channel_name, sockets.RIGHTS_CHANGED)
            except (ChannelFull, RedisError, OSError) as error:
                logger.warning("socket of analysis %s: asks later, %s", self.analysis_id, type(error).__name__)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """There is nothing to ask for here."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Not even parsed."""

    async def analysis_event(self, message: dict[str, Any]) -> None:
        for event in message["events"]:
            if self.groups_joined and event["revision"] > self.seen:
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
