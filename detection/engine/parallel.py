"""Several networks at work at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

Worker = TypeVar("Worker")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Team(Generic[Worker, Item, Answer]):
    """Workers of which each may do one thing at a time, with a thread for each of them.

    A small network gains little by threads of its own, since it waits for them after every layer: two interpreters
    with a thread each are worth more than one with two. What they do must let go of Python's lock, as LiteRT does.
    Not safe to share between threads.
    """

    def __init__(self, workers: Sequence[Worker], work: Callable[[Worker, Item], Answer]) -> None:
        self._work = work
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(len(workers), thread_name_prefix="team")

    def do(self, items: Sequence[Item]) -> list[Answer]:
        """The answer to each item, in their order. Raises what the first of them raises that cannot be done."""
        # A single one as well: into this thread somebody may raise an exception at any moment (a time limit, a
        # shutdown), which must not come between taking a worker and giving it back.
        return list(self._threads.map(self._one, items))

    def _one(self, item: Item) -> Answer:
        worker = self._idle.get()
        try:
            return self._work(worker, item)
        finally:
            self._idle.put(worker)
