"""Several workers of which each does one thing at a time."""

from __future__ import annotations

import threading

import pytest

from detection.engine.parallel import Team


class Busy:
    """Notices if it is asked to do two things at once."""

    def __init__(self) -> None:
        self._free = threading.Lock()
        self.done = 0

    def double(self, number: int) -> int:
        assert self._free.acquire(blocking=False), "two things at once"
        try:
            self.done += 1
            return 2 * number
        finally:
            self._free.release()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_answers_come_in_the_order_of_the_items(size: int) -> None:
    workers = [Busy() for _ in range(size)]
    team = Team(workers, Busy.double)
    assert team.do(range(500)) == [2 * number for number in range(500)]
    assert sum(worker.done for worker in workers) == 500


def test_two_things_are_done_at_the_same_time() -> None:
    """Each waits until the other has begun."""
    both = threading.Barrier(2)
    Team([None, None], lambda _worker, _item: both.wait(60)).do([1, 2])


@pytest.mark.parametrize("size", [1, 2])
def test_nothing_is_done_in_the_thread_that_asks(size: int) -> None:
    """Into which a time limit may be raised while a worker is in its hands."""
    [name] = Team([None] * size, lambda _worker, _item: threading.current_thread().name).do([1])
    assert name != threading.current_thread().name


def test_what_fails_is_raised_and_the_team_goes_on() -> None:
    def divide(_worker: None, number: int) -> float:
        return 1 / number

    team = Team([None, None], divide)
    for _ in range(5):  # more often than there are workers: none is lost
        with pytest.raises(ZeroDivisionError):
            team.do([1, 0, 2, 0])
    assert team.do([1, 2, 4]) == [1, 0.5, 0.25]


def test_nothing_to_do() -> None:
    assert Team([None, None], lambda _worker, item: item).do([]) == []
