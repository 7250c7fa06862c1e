"""The site as a process that a test can start, kill and look into."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from tests import services

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 300  # generous: the machine may be busy with something else
# Tests upload more than people do; those of the limits set their own.
NO_LIMITS = {
    f"VERIFRAME_LIMIT_{name}": "none" for name in ("UPLOADS", "UPLOADS_ADDRESS", "REQUESTS", "REQUESTS_ADDRESS")
}
READY = "ready at http://"
KEPT = {"VERIFRAME_WEIGHTS_DIR", "VERIFRAME_MODEL"}  # so that a model can be tried before it is released


class Server:
    """``manage.py serve`` on a free loopback port. Database and media live in ``folder`` and survive restarts.

    ``with Server(...) as server`` starts it and stops what then still runs.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.database = folder / "db.sqlite3"
        self.log = folder / "server.log"
        self.port = 0  # a free one at first, afterwards the same again
        self.process: subprocess.Popen[str] | None = None
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("VERIFRAME_") or k in KEPT}
        for name in ("REDIS_URL", "RABBITMQ_URL"):
            inherited.pop(name, None)
        self.environment = {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": f"sqlite:///{self.database}",
            "VERIFRAME_MEDIA_ROOT": str(folder / "media"),
            "VERIFRAME_MODELS_DIR": str(folder / "models"),
            "VERIFRAME_ENV_FILE": "",
            "VERIFRAME_SECRET_KEY": "for-one-test-run-" + "x" * 40,
            "PYTHONUNBUFFERED": "1",
            **NO_LIMITS,
            **settings,
        }
        self.manage("migrate", "--verbosity", "0")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        command = [sys.executable, "manage.py", "serve", "--port", str(self.port)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        # A server that hangs would block readline() for ever.
        guard = threading.Timer(START_SECONDS, self.process.kill)
        guard.start()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if READY in line:
                self.port = int(line.split(READY, 1)[1].split("/", 1)[0].rsplit(":", 1)[1])
                guard.cancel()
                return
        guard.cancel()
        raise AssertionError(f"the server did not start:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """As a power cut would: SIGKILL, nothing is tidied up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        services.end(self.process, how)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Look into its database, past the application."""
        connection = sqlite3.connect(self.database, timeout=20)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def manage(self, *command: str) -> None:
        """Run one of its ``manage.py`` commands."""
        subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=self.environment, check=True, timeout=START_SECONDS
        )
