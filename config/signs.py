"""Signs of life: which workers there are, what they do, and when each job was done last. Kept in Django's cache.

In the cache and not in a table: it is true for seconds only, and asking for it must not be work for the database. The
cache is in memory where one process is all there is, and Redis where there are several. It cannot list its keys, so
each process takes one of ``SLOTS`` numbered ones.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.cache import cache
from dramatiq import Broker, Middleware, Worker
from dramatiq.broker import MessageProxy
from dramatiq.common import q_name
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

BEAT = 10.0  # seconds between two signs of life
LEAVE = 10.0  # seconds that a worker which stops waits for its last one
SILENT_AFTER = 35.0  # seconds without one: three were missed
KEPT = 600  # seconds that one who says nothing any more is remembered
SLOTS = 256  # processes that can be seen at once
JOBS_KEPT = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Task:
    """What a thread of a worker does."""

    actor: str
    analysis_id: str  # empty if it is about none
    since: float  # POSIX seconds, as all times here

    @property
    def begun(self) -> datetime:
        return datetime.fromtimestamp(self.since, UTC)


@dataclass(frozen=True, slots=True)
class Sign:
    """One worker process, as it said last."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    since: float
    seen: float
    tasks: tuple[Task, ...]

    @property
    def is_silent(self) -> bool:
        return time.time() - self.seen > SILENT_AFTER

    @property
    def started(self) -> datetime:
        return datetime.fromtimestamp(self.since, UTC)

    @property
    def last_seen(self) -> datetime:
        return datetime.fromtimestamp(self.seen, UTC)


def workers() -> list[Sign] | None:
    """Everybody who was there in the last ``KEPT`` seconds and has not left in order; None: the cache is away."""
    try:
        found = cache.get_many([_key(slot) for slot in range(SLOTS)])
    except (RedisError, OSError) as error:
        logger.warning("nobody knows which workers live: %s", type(error).__name__)
        return None
    signs = [Sign(**{**values, "tasks": tuple(Task(**task) for task in values["tasks"])}) for values in found.values()]
    return sorted(signs, key=lambda sign: (sign.host, sign.since, sign.pid))


def note_job(path: str) -> None:
    """A job of ``settings.JOBS`` has been done."""
    try:
        cache.set(f"job-{path}", time.time(), JOBS_KEPT)
    except (RedisError, OSError) as error:
        logger.warning("%s: done, but not noted: %s", path, type(error).__name__)


def jobs_done(paths: Iterable[str]) -> dict[str, float]:
    """When each was done last, in POSIX seconds; those of which nobody knows are left out."""
    keys = {f"job-{path}": path for path in paths}
    try:
        return {keys[key]: when for key, when in cache.get_many(list(keys)).items()}
    except (RedisError, OSError):
        return {}


def _key(slot: int) -> str:
    return f"worker-{slot}"


class SignsOfLife(Middleware):
    """Says every ``BEAT`` seconds that this process lives, from a thread of its own: it is heard during long work."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._queues: dict[int, tuple[str, ...]] = {}  # by worker: `manage.py serve` has several in one process
        self._tasks: dict[int, Task] = {}  # by thread
        self._since = 0.0
        self._slot: int | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        with self._lock:
            if not self._queues:
                self._since = time.time()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        queues = worker.consumer_whitelist or broker.get_declared_queues()
        with self._lock:
            # Without the queue of what waits for its time that belongs to each.
            self._queues[id(worker)] = tuple({q_name(queue) for queue in queues})
            if self._thread is not None:
                return
            self._stopping.clear()
            self._thread = threading.Thread(target=self._live, name="signs of life", daemon=True)
        self._thread.start()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        with self._lock:
            self._queues.pop(id(worker), None)
            if self._queues or self._thread is None:
                return
            thread, self._thread = self._thread, None
        self._stopping.set()
        thread.join(LEAVE)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        task = Task(message.actor_name, message.options.get("analysis_id", ""), time.time())
        with self._lock:
            self._tasks[threading.get_ident()] = task

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        with self._lock:
            self._tasks.pop(threading.get_ident(), None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        self.after_process_message(broker, message)

    def _live(self) -> None:
        heard = True
        while True:
            try:
                self.beat()
                heard = True
            except (RedisError, OSError) as error:
                if heard:  # once, and not every ten seconds
                    logger.warning("no sign of life can be given: %s", type(error).__name__)
                heard = False
            if self._stopping.wait(BEAT):
                break
        self._leave()

    def beat(self) -> None:
        """Say once what is so now. Raises RedisError and OSError while the cache is away."""
        sign = self._sign()
        if self._slot is not None:
            held = cache.get(_key(self._slot))
            # Another one has it if this process was asleep for longer than it is remembered.
            if held is None or held["id"] == self._id:
                cache.set(_key(self._slot), sign, KEPT)
                return
        self._slot = next((slot for slot in range(SLOTS) if cache.add(_key(slot), sign, KEPT)), None)
        if self._slot is None:
            logger.warning("there are more than %d workers: this one is not seen", SLOTS)

    def _sign(self) -> dict[str, Any]:
        with self._lock:
            queues = tuple(sorted({queue for listened in self._queues.values() for queue in listened}))
            tasks = tuple(self._tasks.values())
        return asdict(Sign(self._id, socket.gethostname(), os.getpid(), queues, self._since, time.time(), tasks))

    def _leave(self) -> None:
        """Whoever stops in order is not missed."""
        if self._slot is None:
            return
        try:
            cache.delete(_key(self._slot))
        except (RedisError, OSError) as error:
            logger.warning("the last sign of life stays for a while: %s", type(error).__name__)
        self._slot = None
