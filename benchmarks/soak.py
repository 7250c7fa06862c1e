"""Whether memory grows: the load of ``benchmarks.load`` for half an hour, memory sampled, slopes by least squares.

``python -m benchmarks.soak [--minutes 30]``; Linux, needs ``redis-server`` and PostgreSQL. The first minutes are left
out: there models are loaded and pools filled. The last third is also told by itself, since what fills up flattens and
what leaks does not. Neighbouring samples resemble each other, so the interval is widened by what they do (the effective
number of samples of an AR(1) process).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

import numpy as np

from benchmarks.load import Clock, run, table
from benchmarks.processes import cpu, memory, tree
from benchmarks.site import Site, beside

EVERY = 10.0  # seconds between two samples
WARM_UP = 0.25  # share of the time that is left out
LAST = 2 / 3  # of the time is over where the last third begins


def slope(minutes: Sequence[float], mib: Sequence[float]) -> tuple[float, float]:
    """MiB an hour by least squares, and the half width of its 95 % interval."""
    when, values = np.asarray(minutes) / 60, np.asarray(mib)
    per_hour, start = np.polyfit(when, values, 1)
    rest = values - (per_hour * when + start)
    alike = float(np.clip(np.corrcoef(rest[:-1], rest[1:])[0, 1], 0, 0.99)) if rest.std() > 0 else 0.0
    independent = max(3.0, len(values) * (1 - alike) / (1 + alike))
    spread = np.sqrt((rest**2).sum() / (independent - 2) / len(values)) / when.std() if independent > 2 else np.inf
    return float(per_hour), float(1.96 * spread)


def sampler(
    processes: dict[str, Callable[[], int]], log: Path
) -> tuple[dict[str, list[float]], Callable[[Event], None]]:
    """Columns that fill while the returned function runs; each sample is also written to ``log``, in case of a cut."""
    columns: dict[str, list[float]] = {"minutes": [], **{name: [] for name in processes}}
    began = time.monotonic()

    def sample(over: Event) -> None:
        with log.open("w") as file:
            print(*columns, *(f"{name} processes" for name in processes), sep="\t", file=file, flush=True)
            while not over.is_set():
                values = [(time.monotonic() - began) / 60, *(memory(pid()) for pid in processes.values())]
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
                counts = [len(tree(pid())) for pid in processes.values()]
                print(*(f"{value:.2f}" for value in values), *counts, sep="\t", file=file, flush=True)
                over.wait(EVERY)

    return columns, sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--samples", type=Path, default=Path("soak.tsv"))
    options = parser.parse_args()
    clock = Clock()
    with Site() as site:
        web = site.server.process
        assert web is not None
        processes = {"web": lambda: web.pid}
        for worker in site.workers:
            processes[worker.name] = lambda worker=worker: worker.process.pid
        columns, sample = sampler(processes, options.samples)
        with beside(sample):
            finished = run(site, options.minutes * 60, clock)
        used = {name: cpu(pid()) for name, pid in processes.items()}
    table(clock)
    print(f"{finished} analyses; seconds of CPU: { {name: round(value) for name, value in used.items()} }")
    minutes = columns.pop("minutes")
    warm, last = (
        next(number for number, minute in enumerate(minutes) if minute >= share * options.minutes)
        for share in (WARM_UP, LAST)
    )
    for name, mib in columns.items():
        slopes = ["{:+.1f} ± {:.1f}".format(*slope(minutes[first:], mib[first:])) for first in (warm, last)]
        low, high = min(mib[warm:]), max(mib[warm:])
        print(f"{name}: {low:.0f} to {high:.0f} MiB, slope {slopes[0]} MiB/h, in the last third {slopes[1]}")


if __name__ == "__main__":
    main()
