"""A real HTTP server in a thread that answers as a test says and remembers what it was sent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b"thanks"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Receiver:
    """Gives ``answers`` in turn, the last one for ever."""

    def __init__(self, *answers: Answer, host: str = "127.0.0.1") -> None:
        self.answers = list(answers) or [Answer()]
        self.received: list[Received] = []
        self._new = threading.Condition()
        self._server = ThreadingHTTPServer((host, 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.host = host
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hook"

    def wait_for(self, number: int, patience: float = 60) -> list[Received]:
        """Come back when that many requests have come."""
        with self._new:
            assert self._new.wait_for(lambda: len(self.received) >= number, patience), self.received
        return self.received

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver._take(Received(self.command, self.path, headers, self.rfile.read(length)))
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                # Whoever has read enough hangs up.
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(answer.body)

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Tests are quiet."""

        return Handler

    def _take(self, request: Received) -> Answer:
        with self._new:
            self.received.append(request)
            self._new.notify_all()
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def receiving(*answers: Answer) -> Iterator[Receiver]:
    with Receiver(*answers) as receiver:
        yield receiver
