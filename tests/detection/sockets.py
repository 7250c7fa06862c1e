"""WebSocket clients for tests.

`channels.testing` cannot be imported without daphne (its live server needs it), and daphne would bring Twisted; what
these tests need of it is little.
"""

from __future__ import annotations

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from detection.routing import websocket_urlpatterns

PATIENCE = 10  # seconds; reached only when something is broken


class Socket(ApplicationCommunicator):
    """One connection to an ASGI application."""

    def __init__(self, application: Any, path: str, *, headers: list[tuple[bytes, bytes]] | None = None, **scope: Any):
        base = {"type": "websocket", "path": path, "query_string": b"", "subprotocols": []}
        super().__init__(application, {**base, "headers": headers or [], **scope})

    async def connect(self) -> int:
        """Returns 0 when the connection was accepted, else the code it was closed with."""
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(PATIENCE)
        if answer["type"] == "websocket.accept":
            return 0
        assert answer["type"] == "websocket.close"
        return answer.get("code", 1000)

    async def send(self, **data: Any) -> None:
        await self.send_input({"type": "websocket.receive", **data})

    async def receive(self) -> dict[str, Any]:
        """The next message, as JSON."""
        answer = await self.receive_output(PATIENCE)
        assert answer["type"] == "websocket.send"
        return json.loads(answer["text"])

    async def until_end(self) -> list[dict[str, Any]]:
        """Messages up to a terminal status."""
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1].get("status") not in ("succeeded", "failed", "cancelled"):
            messages.append(await self.receive())
        return messages

    async def disconnect(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(PATIENCE)


def connect(user: AbstractBaseUser | AnonymousUser, path: str) -> Socket:
    """A client of this user, not connected yet."""
    return Socket(URLRouter(websocket_urlpatterns), path, user=user)
