"""The machine that measures: what it is, whether something else keeps it busy, and how fast it multiplies."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

PACKAGES = ("numpy", "av", "opencv-python-headless", "ai-edge-litert", "Django", "uvicorn")
SIDE = 1024  # of the square matrices that are multiplied
BUSY = 0.5  # load average per core from which on figures are not to be trusted


def describe() -> dict[str, str]:
    """Processor, cores, memory and versions, for the head of a table."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def load() -> float:
    """Processes that wanted a core in the last minute, on average."""
    return os.getloadavg()[0]


def is_busy() -> bool:
    """Whether somebody else is at work: ask before measuring, since a measurement is work itself."""
    return load() > BUSY * len(os.sched_getaffinity(0))


def multiplications(rounds: int = 7) -> float:
    """Multiply-adds a second of float32 matrices in NumPy's own library, all cores: the median of ``rounds``."""
    random = np.random.default_rng(1)
    left, right = (random.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    return SIDE**3 / statistics.median(seconds[1:])  # the first one starts the threads
