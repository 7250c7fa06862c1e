"""A whole site for benchmarks that put it under load or break it: PostgreSQL, Redis, web server, workers, media.

Everything is private to the run: free loopback ports, one temporary folder, gone at the end.
"""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import av
import httpx
import numpy as np
import psycopg
from PIL import Image

from tests.detection.person import Person
from tests.e2e.server import ROOT, Server
from tests.services import Postgresql, Redis

FACE = ROOT / "static" / "samples" / "astronaut.jpg"
CHANGED = ROOT / "static" / "samples" / "astronaut-changed.jpg"
RATE = 25  # frames per second of the clips
WORKERS = ("images", "videos", "outgoing")
SETTINGS = {
    "VERIFRAME_DAILY_QUOTA": "0",
    "VERIFRAME_STORAGE_MB": "0",
    "VERIFRAME_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # as in the image and the units
}


@dataclass(frozen=True)
class Media:
    """A file to send."""

    name: str
    content: bytes


def media(seed: int, *, photos: int, clips: int, seconds: float = 2.0) -> list[Media]:
    """Photos and clips of a face, half of them of the changed one, each cut out a little differently."""
    chance = random.Random(seed)
    sources = [np.asarray(Image.open(path).convert("RGB")) for path in (FACE, CHANGED)]
    pictures = [_window(sources[number % 2], chance, 480) for number in range(photos + clips)]
    return [
        *(Media(f"photo{number}.jpg", _jpeg(picture)) for number, picture in enumerate(pictures[:photos])),
        *(Media(f"clip{number}.mp4", _mp4(picture, seconds)) for number, picture in enumerate(pictures[photos:])),
    ]


def _window(source: np.ndarray[Any, Any], chance: random.Random, side: int) -> Image.Image:
    height, width = source.shape[:2]
    edge = int(min(height, width) * chance.uniform(0.85, 1.0))
    left, top = chance.randint(0, width - edge), chance.randint(0, max(0, (height - edge) // 3))
    return Image.fromarray(source[top : top + edge, left : left + edge]).resize((side, side), Image.Resampling.LANCZOS)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _mp4(picture: Image.Image, seconds: float) -> bytes:
    """The picture, drifting by a pixel a frame, so that there is something to follow."""
    buffer = io.BytesIO()
    frame = np.asarray(picture)
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        for number in range(round(seconds * RATE)):
            moved = np.roll(frame, number % 40, axis=1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return buffer.getvalue()


class Worker:
    """``manage.py worker SET``: one of the sets of :mod:`detection.workers`, in a session of its own."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.name, self.environment, self.log = name, environment, log
        self.start()

    def start(self) -> None:
        command = [sys.executable, "manage.py", "worker", self.name]
        with self.log.open("a") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=file, stderr=file, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL to all that it is made of, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)


class Site:
    """Everything that a site is made of, with a worker of each set; ``with`` starts it."""

    def __init__(self, **settings: str) -> None:
        self._settings = settings
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="veriframe-")))
            for name in ("database", "redis", "site"):
                (self.folder / name).mkdir()
            self.postgresql = stack.enter_context(Postgresql(self.folder / "database"))
            self.redis = stack.enter_context(Redis(self.folder / "redis"))
            self.server = stack.enter_context(
                Server(
                    self.folder / "site",
                    DATABASE_URL=self.postgresql.url,
                    REDIS_URL=self.redis.url,
                    **{**SETTINGS, **self._settings},
                )
            )
            stack.callback(self._stop_workers)
            self.workers = [Worker(name, self.server.environment, self.server.log) for name in WORKERS]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop_workers(self) -> None:
        for worker in self.workers:
            worker.stop()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Look into the database, past the application."""
        with psycopg.connect(self.postgresql.url) as connection:
            return connection.execute(query, values).fetchall()

    def token(self) -> str:
        """Of somebody who has just signed up."""
        with Person(self.server) as person:
            return person.make_token()

    def client(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Token {token}", "Accept": "application/json"}
        return httpx.Client(base_url=self.server.url, headers=headers, timeout=60)


def send(client: httpx.Client, item: Media, key: str, *, patience: float = 600) -> str:
    """Send a file as a careful program does: again under the same key until it is taken. Returns the analysis' id."""
    end = time.monotonic() + patience
    while True:
        try:
            answer = client.post(
                "/api/v1/analyses/",
                files={"file": (item.name, item.content)},
                data={"force": "true"},
                headers={"Idempotency-Key": key},
            )
        except httpx.TransportError as error:
            problem = str(error)
        else:
            if answer.status_code == 202:
                return str(answer.json()["id"])
            problem = f"{answer.status_code} {answer.text[:300]}"
            if answer.status_code not in (409, 503):  # 409: the first request with this key is still at work
                raise AssertionError(f"{item.name} was refused: {problem}")
        if time.monotonic() > end:
            raise AssertionError(f"{item.name} was not taken: {problem}")
        time.sleep(0.5)


@contextmanager
def beside(*targets: Any) -> Iterator[threading.Event]:
    """Run functions in threads while the block lasts; each gets the event that tells it to end. What they raise is
    raised here."""
    over, errors = threading.Event(), []

    def guarded(target: Any) -> None:
        try:
            target(over)
        except BaseException as error:  # noqa: BLE001  (raised again below)
            errors.append(error)
            over.set()

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield over
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
