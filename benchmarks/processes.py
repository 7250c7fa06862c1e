"""What a tree of processes uses, from ``/proc``: memory and CPU time (Linux)."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and everything below it, as far as it still lives."""
    found = [pid]
    for parent in found:  # grows while it is walked
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def memory(pid: int) -> float:
    """MiB of a tree of processes; what several of them share is counted once (proportional set size)."""
    return sum(_pss(one) for one in tree(pid)) / 1024


class Peak:
    """The most memory that a tree of processes has while the block lasts, looked at every ``pause`` seconds.

    Attributes:
        together: MiB of all, as :func:`memory` counts them.
        alone: MiB that each process has had resident at most (``VmHWM``), added up. An upper bound: what several share
            is counted for each, and they need not have had it at the same time.
    """

    def __init__(self, pid: int, pause: float = 0.05) -> None:
        self.together = 0.0
        self._marks: dict[int, int] = {}
        self._pid, self._pause = pid, pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def alone(self) -> float:
        return sum(self._marks.values()) / 1024

    def _look(self) -> None:
        while True:
            self.together = max(self.together, memory(self._pid))
            for pid in tree(self._pid):
                self._marks[pid] = max(_high_water(pid), self._marks.get(pid, 0))
            if self._over.wait(self._pause):
                return


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has just ended
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def cpu(pid: int) -> float:
    """Seconds of CPU time that a tree has used, children that have ended included."""
    return sum(_cpu(one) for one in tree(pid))


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS  # utime, stime, and those of children waited for
