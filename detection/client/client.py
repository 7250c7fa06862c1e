"""``Client``: what a server can be asked."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import websockets
from websockets.sync.client import connect

from .http import Http
from .problems import problem_of, retry_after
from .results import Analysis, Progress, Submitted

API = "/api/v1"
OPEN_SECONDS = 10
POLL_SECONDS = 2.0  # when the server does not say

OnProgress = Callable[[Progress], None]
OnSent = Callable[[int, int], None]  # bytes so far, bytes altogether


class Client:
    """Talks to one server. Use it as a context manager, or close it.

    Args:
        server: its address, such as ``https://veriframe.example.org``.
        token: from the account page.
        timeout: seconds without a sign of life before a request counts as lost.
        patience: seconds that we wait altogether when the server says "too many requests".

    Every method raises ``Problem`` when the server refuses and ``Unreachable`` when no answer comes.
    """

    def __init__(self, server: str, token: str = "", *, timeout: float = 60, patience: float = 600) -> None:
        self.server = server.rstrip("/")
        self._token = token
        self._http = Http(self.server, token, timeout=timeout, patience=patience)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def on_wait(self, told: Callable[[float], None]) -> None:
        """Have ``told`` called with the seconds that the server wants us to wait, before we do."""
        self._http.on_wait = told

    def upload(
        self,
        path: Path,
        *,
        mode: str = "",
        external_id: str = "",
        callback_url: str = "",
        force: bool = False,
        on_sent: OnSent | None = None,
    ) -> Submitted:
        """Send a file to be analysed. Raises OSError if it cannot be read.

        Args:
            mode: ``thorough`` to have a video looked at more closely, which takes longer.
            external_id: a name of yours that the analysis keeps.
            callback_url: told when the analysis has ended.
            force: analyse it also if the same model has seen the same bytes before.
            on_sent: called while the file is sent.
        """
        fields = {
            "mode": mode,
            "external_id": external_id,
            "callback_url": callback_url,
            "force": "true" if force else "",
        }
        with path.open("rb") as file:
            answer = self._http.request(
                "POST",
                f"{API}/analyses/",
                files={"file": (path.name, _Watched(file, path.stat().st_size, on_sent))},
                data={name: value for name, value in fields.items() if value},
                # Sent again after a lost connection, it is still one analysis.
                headers={"Idempotency-Key": str(uuid.uuid4())},
            )
        return Submitted.of(self._json(answer))

    def get(self, analysis_id: str) -> Analysis:
        return Analysis.of(self._json(self._http.request("GET", f"{API}/analyses/{analysis_id}/")))

    def wait(self, analysis_id: str, on_progress: OnProgress | None = None) -> Analysis:
        """Come back when the analysis has ended: told by the WebSocket, or by asking again and again without one."""
        tell = on_progress or _tell_nobody
        # A proxy that knows no WebSockets, a restart: asking always works.
        with contextlib.suppress(OSError, ValueError, websockets.WebSocketException):
            self._follow(analysis_id, tell)
        while True:
            answer = self._http.request("GET", f"{API}/analyses/{analysis_id}/")
            analysis = Analysis.of(self._json(answer))
            tell(analysis.progress)
            if analysis.has_ended:
                return analysis
            time.sleep(retry_after(answer) or POLL_SECONDS)

    def _follow(self, analysis_id: str, tell: OnProgress) -> None:
        headers = {"Authorization": f"Token {self._token}"} if self._token else {}
        # Made of the address that we were given: the token goes nowhere else.
        address = f"ws{self.server.removeprefix('http')}/ws/analyses/{analysis_id}/"
        with connect(address, additional_headers=headers, open_timeout=OPEN_SECONDS) as socket:
            for text in socket:
                message = json.loads(text)
                if "status" not in message:
                    continue
                progress = Progress.of(message["status"], message)
                tell(progress)
                if progress.has_ended:
                    return

    def cancel(self, analysis_id: str) -> None:
        self._http.request("POST", f"{API}/analyses/{analysis_id}/cancel/")

    def retry(self, analysis_id: str, *, mode: str = "") -> None:
        """Analyse the same file anew, as closely as before or in another ``mode``."""
        wanted = {"mode": mode} if mode else None
        self._http.request("POST", f"{API}/analyses/{analysis_id}/retry/", json=wanted, repeatable=False)

    def delete(self, analysis_id: str) -> None:
        """Remove the file and everything that was found in it."""
        self._http.request("DELETE", f"{API}/analyses/{analysis_id}/")

    def report(self, analysis_id: str, kind: Literal["json", "pdf"]) -> bytes:
        """The report as a file."""
        return self._http.request("GET", f"{API}/analyses/{analysis_id}/report.{kind}").content

    def file(self, analysis_id: str, name: str = "source") -> bytes:
        """The file that was sent, or a picture of a face by the end of its address ("faces/0.jpg").

        A server may send us on to where the file lies. The token stays here: HTTPX shows it to the first host only.
        """
        return self._http.request("GET", f"/media/{analysis_id}/{name}", follow_redirects=True).content

    @staticmethod
    def _json(answer: Any) -> Any:
        """Raises Problem if this is no JSON: then it is no Veriframe server."""
        try:
            return answer.json()
        except ValueError:
            raise problem_of(answer) from None


def _tell_nobody(progress: Progress) -> None:
    """When nobody asked to be told."""


class _Watched:
    """A file that tells how much of it was read."""

    def __init__(self, file: IO[bytes], size: int, on_sent: OnSent | None) -> None:
        self._file, self._size, self._on_sent = file, size, on_sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        if self._on_sent is not None:
            self._on_sent(self._file.tell(), self._size)
        return content
