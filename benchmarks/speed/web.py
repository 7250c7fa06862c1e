"""The web server: latency of pages and API on an idle site, uploads a second, events to many who watch."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from websockets.asyncio.client import connect

from benchmarks.faults import wait_for_end
from benchmarks.load import Clock
from benchmarks.site import Media, Site, Worker, media, send
from benchmarks.speed import starts
from benchmarks.speed.end_to_end import ENDED
from benchmarks.speed.report import Report, Table, median
from tests.detection.person import Person
from tests.e2e.server import ROOT

PAUSE = 0.25  # seconds between two events: as often as a worker tells of its progress
SENDERS = 4  # who upload at the same time
DOORS = 10  # watchers that connect at the same time
OPEN_SECONDS = 60
PATIENCE = 300  # seconds, with all of it


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done."""

    requests: int = 200  # of each page and route
    uploads: int = 200
    watchers: int = 200
    events: int = 50
    starts: int = 5  # cold ones
    clip: float = 2.0  # seconds


def measure(site: Site, size: Size) -> Report:
    report = Report()
    photo, clip = media(5, photos=1, clips=1, seconds=size.clip)
    with Person(site.server) as person:
        token = person.make_token()
        with site.client(token) as client:
            ids = [send(client, item, item.name) for item in (photo, clip)]
            for id_ in ids:
                wait_for_end(client, id_)
            _latency(person, client, ids[-1], size.requests, report)
    _uploads(site, token, photo, size.uploads, report)
    report.tables.append(_fan_out(site, token, clip, size, report))
    starts.weigh(site, report)
    if size.starts:
        starts.cold(site, token, photo, clip, size.starts, report)
    starts.install_size(report)
    return report


# -- Latency -----------------------------------------------------------------------------------------------------------


def _latency(person: Person, client: httpx.Client, id_: str, requests: int, report: Report) -> None:
    """One request after the other, on one connection."""
    pages = {"start": "/", "history": "/analyses/", "analysis": f"/analyses/{id_}/", "model": "/model/"}
    routes = {"list": "/api/v1/analyses/", "analysis": f"/api/v1/analyses/{id_}/", "usage": "/api/v1/usage/"}
    html = {"Accept": "text/html"}
    asks: dict[str, Callable[[], httpx.Response]] = {
        **{f"page: {name}": lambda path=path: person.http.get(path, headers=html) for name, path in pages.items()},
        **{f"API: {name}": lambda path=path: client.get(path) for name, path in routes.items()},
    }
    clock = Clock()
    for kind, ask in asks.items():
        assert ask().status_code == 200, kind  # and the template is compiled
    for _ in range(requests):
        for kind, ask in asks.items():
            clock.time(kind, ask)
    table = Table("Latency on an idle site, ms", ["request", "median", "95th percentile", "99th percentile"])
    for kind, taken in clock.taken.items():
        table.add(kind, *(1000 * float(np.percentile(taken, share)) for share in (50, 95, 99)))
    table.notes = [f"{requests} requests each, in turn, over one connection; nothing is analysed meanwhile."]
    report.tables.append(table)
    report.figures["latency"] = dict(clock.taken)


# -- Uploads -----------------------------------------------------------------------------------------------------------


def _uploads(site: Site, token: str, photo: Media, uploads: int, report: Report) -> None:
    """What the web server takes while nobody works on it: the workers are stopped."""
    for worker in site.workers:
        worker.stop()
    table = Table("Uploads", ["senders", "photos a second", "median, ms", "95th percentile, ms"])
    found = {}
    for senders in (1, SENDERS):
        taken, seconds = _send_all(site, token, photo, uploads, senders)
        pace = uploads / seconds
        table.add(str(senders), pace, *(1000 * float(np.percentile(taken, share)) for share in (50, 95)))
        found[senders] = {"a_second": pace, "seconds": taken}
    table.notes = [
        f"{uploads} photos of {len(photo.content) / 1e3:.0f} kB each, until the 202; the workers are stopped."
    ]
    report.tables.append(table)
    report.figures["uploads"] = found
    with site.client(token) as client:  # nobody is to work on them later
        while waiting := client.get("/api/v1/analyses/", params={"status": "queued"}).json()["results"]:
            for row in waiting:
                client.delete(f"/api/v1/analyses/{row['id']}/").raise_for_status()


def _send_all(site: Site, token: str, photo: Media, uploads: int, senders: int) -> tuple[list[float], float]:
    clients = [site.client(token) for _ in range(senders)]

    def some(client: httpx.Client) -> list[float]:
        taken = []
        for number in range(uploads // senders):
            began = time.perf_counter()
            send(client, photo, f"{id(clients)}-{id(client)}-{number}")
            taken.append(time.perf_counter() - began)
        return taken

    try:
        for client in clients:
            client.get("/health/")  # connects
        began = time.perf_counter()
        with ThreadPoolExecutor(senders) as pool:
            taken = [seconds for several in pool.map(some, clients) for seconds in several]
        return taken, time.perf_counter() - began
    finally:
        for client in clients:
            client.close()


# -- Fan-out -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Watcher:
    """One client: what it heard, with the time."""

    heard: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def delays(self) -> list[float]:
        """Seconds from publishing to hearing, of the publisher's events. The first connects it to Redis: left out."""
        stamped = [(at, e["points"][0][0]) for at, e in self.heard if e["type"] == "analysis.scored" and _is_stamp(e)]
        return [at - sent for at, sent in stamped[1:]]

    def of_the_analysis(self) -> list[tuple[float, dict[str, Any]]]:
        return [(at, e) for at, e in self.heard if e["type"] != "analysis.snapshot" and not _is_stamp(e)]


def _is_stamp(event: dict[str, Any]) -> bool:
    """Whether the publisher sent it: no video has a score 50 years after its beginning."""
    return bool(event.get("points")) and event["points"][0][0] > 1e9


def _fan_out(site: Site, token: str, clip: Media, size: Size, report: Report) -> Table:
    with site.client(token) as client:
        id_ = send(client, clip, "fan-out")
    watchers = asyncio.run(_watch(site, token, id_, size))
    delays = [delay for watcher in watchers for delay in watcher.delays()]
    events = [[event["revision"] for _, event in watcher.of_the_analysis()] for watcher in watchers]
    whole = sum(heard == events[0] for heard in events)
    times = zip(*([at for at, _ in watcher.of_the_analysis()] for watcher in watchers), strict=True)
    spreads = [max(several) - min(several) for several in times]
    table = Table("Events to many", ["what", "figure"])
    table.add("clients that watch one analysis", str(size.watchers))
    table.add("of these, heard every event of it, and in order", str(whole))
    table.add("events of the analysis", str(len(events[0])))
    table.add("from publishing to a client, median, ms", 1000 * median(delays))
    table.add("95th percentile, ms", 1000 * float(np.percentile(delays, 95)))
    table.add("from the first client to the last, median over the analysis' events, ms", 1000 * median(spreads))
    table.notes = [
        f"The delay is that of {size.events} events, {PAUSE * 1000:.0f} ms apart, which a process sends as workers do, "
        "with the time in them; the clients are one more process of the same machine."
    ]
    report.figures["fan_out"] = {"delays": delays, "spreads": spreads, "events": len(events[0]), "whole": whole}
    return table


async def _watch(site: Site, token: str, id_: str, size: Size) -> list[Watcher]:
    """Connect all while the analysis waits; then publish, then let a worker do it."""
    watchers = [Watcher() for _ in range(size.watchers)]
    ready = [asyncio.Event() for _ in watchers]
    address = f"ws{site.server.url.removeprefix('http')}/ws/analyses/{id_}/"
    headers = {"Authorization": f"Token {token}"}
    doors = asyncio.Semaphore(DOORS)

    async def watch(watcher: Watcher, connected: asyncio.Event) -> None:
        async with doors:
            socket = await connect(address, additional_headers=headers, open_timeout=OPEN_SECONDS)
        async with socket:
            async for text in socket:
                event = json.loads(text)
                watcher.heard.append((time.time(), event))
                connected.set()
                if event.get("status") in ENDED:
                    return
        raise AssertionError("the site stopped telling")

    # A task that fails ends the others, and what waits for them.
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        for pair in zip(watchers, ready, strict=True):
            tasks.create_task(watch(*pair))
        for connected in ready:
            await connected.wait()
        revision = watchers[0].heard[0][1]["revision"]
        await asyncio.to_thread(_publish, site, id_, revision, size.events)
        worker = next(worker for worker in site.workers if worker.name == "videos")
        await asyncio.to_thread(Worker.start, worker)
    for worker in site.workers:
        if worker.name != "videos":
            worker.start()
    return watchers


def _publish(site: Site, id_: str, revision: int, events: int) -> None:
    command = [sys.executable, "-m", "benchmarks.speed.publisher", id_, str(revision), str(events), str(PAUSE)]
    subprocess.run(command, cwd=ROOT, env=site.server.environment, check=True, timeout=300)
