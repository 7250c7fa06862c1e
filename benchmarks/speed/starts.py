"""What a server costs before it does anything: seconds to start, memory, and bytes to install."""

from __future__ import annotations

import re
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import httpx
from packaging.requirements import Requirement

from benchmarks.faults import wait_for_end
from benchmarks.processes import memory, tree
from benchmarks.site import Media, Site, Worker, send
from benchmarks.speed.report import Goal, Report, Table, median
from tests.e2e.server import ROOT
from tests.services import wait_for

# What would make a web server heavy, by the names of the files that a process then has mapped.
HEAVY = {"TensorFlow": "tensorflow", "OpenCV": "/cv2/", "PyAV": "/av/", "LiteRT": "ai_edge_litert", "NumPy": "/numpy/"}
SHOWN = 8  # of the largest distributions
MOMENTS = "SELECT extract(epoch FROM started_at), extract(epoch FROM finished_at) FROM detection_analysis WHERE id = %s"
PATIENCE = 300


def memory_of_web(site: Site) -> tuple[float, float, list[str]]:
    """MiB that are resident and that are its share, and which of the heavy libraries it has loaded."""
    assert site.server.process is not None
    pid = site.server.process.pid
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
    maps = "".join(Path(f"/proc/{one}/maps").read_text() for one in tree(pid))
    return resident, memory(pid), [name for name, part in HEAVY.items() if part in maps]


def weigh(site: Site, report: Report) -> None:
    resident, share, loaded = memory_of_web(site)
    table = Table("Memory of the web server", ["what", "figure"])
    table.add("resident, MiB", resident)
    table.add("proportional share, MiB", share)
    table.add(f"loaded of {', '.join(HEAVY)}", ", ".join(loaded) or "nothing")
    table.notes = ["After all of the requests, uploads and WebSockets above."]
    report.tables.append(table)
    report.goals.append(Goal("web server: memory resident", resident, 150, "MiB"))
    heavy = [name for name in loaded if name != "NumPy"]
    report.goals.append(Goal("web server: of TensorFlow, OpenCV, PyAV, LiteRT loaded", float(len(heavy)), 0, ""))
    report.figures["memory_of_web"] = {"resident": resident, "share": share, "loaded": loaded}


def cold(site: Site, token: str, photo: Media, clip: Media, starts: int, report: Report) -> None:
    """Web server and workers, each ``starts`` times in turn; files are in the system's cache."""
    took: dict[str, list[float]] = {"web": [], "claim": [], "photo": [], "clip": []}
    with site.client(token) as client:
        for item in (photo, clip):  # behind what still waits of deleted ones
            wait_for_end(client, send(client, item, f"before-{item.name}"))
        for number in range(starts):
            site.server.stop()
            began = time.perf_counter()
            site.server.start()
            took["web"].append(time.perf_counter() - began)
            for name, kind, item in (("photo", "images", photo), ("clip", "videos", clip)):
                worker = next(worker for worker in site.workers if worker.name == kind)
                claimed, ended = _start_with_work(site, client, worker, item, f"cold-{name}-{number}")
                took["claim"].append(claimed)
                took[name].append(ended)
    table = Table("Cold start, seconds", ["what", "median", "slowest"])
    for what, name in (
        ("web server: from exec until it says that it is ready", "web"),
        ("worker: from exec until it takes the message that waits", "claim"),
        ("worker: from exec until the verdict on a photo (480 × 480)", "photo"),
        ("worker: from exec until the verdict on a clip (480 × 480)", "clip"),
    ):
        table.add(what, median(took[name]), max(took[name]))
    report.tables.append(table)
    report.goals.append(Goal("worker: ready to take a message", median(took["claim"]), 2.0, "s"))
    report.figures["cold_start"] = took


def _start_with_work(site: Site, client: httpx.Client, worker: Worker, item: Media, key: str) -> tuple[float, float]:
    """Seconds from exec until a message that waits is taken, and until its verdict."""
    worker.stop()
    id_ = send(client, item, key)
    began = time.time()  # the rows' clock
    worker.start()
    wait_for(lambda: site.rows(MOMENTS, id_)[0][1] is not None, f"{item.name} to be done", PATIENCE)
    started, finished = map(float, site.rows(MOMENTS, id_)[0])
    return started - began, finished - began


def install_size(report: Report) -> None:
    """What requirements.txt brings along, by the files that each distribution lists as its own."""
    sizes = {name: _size(name) for name in closure(ROOT / "requirements.txt")}
    largest = sorted(sizes, key=lambda name: -sizes[name])
    table = Table("Install size of a server", ["distribution", "MiB"])
    for name in largest[:SHOWN]:
        table.add(name, sizes[name] / 2**20)
    table.add(f"{len(sizes) - SHOWN} others", sum(sizes[name] for name in largest[SHOWN:]) / 2**20)
    table.add("**all**", sum(sizes.values()) / 2**20)
    table.notes = ["requirements.txt and what it asks for, without the `.pyc` files that Python makes of it."]
    report.tables.append(table)
    report.figures["install_bytes"] = sizes


def closure(requirements: Path) -> set[str]:
    """Names of the distributions that a requirements file leads to, as far as they are installed."""
    lines = (line.split("  #")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    named = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    waiting = [one for one in named if _applies(one, "")]
    seen: set[tuple[str, str]] = set()
    found: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            name = re.sub(r"[-_.]+", "-", wanted.name).lower()
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                asks = distribution(name).requires or []
            except PackageNotFoundError:  # for another system or another Python
                continue
            found.add(name)
            waiting += [one for one in map(Requirement, asks) if _applies(one, extra)]
    return found


def _applies(wanted: Requirement, extra: str) -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra})


def _size(name: str) -> int:
    files = distribution(name).files or []
    paths = (Path(str(file.locate())) for file in files if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file())
