"""How long pages and API take while two workers are kept busy.

``python -m benchmarks.load [--seconds 240]``; needs ``redis-server`` and PostgreSQL. Somebody sends files so that some
always wait; four readers look at pages and two programs ask the API, each a little after its last answer. Says the
percentiles by route, and fails if a page's 95th is over a second.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import httpx
import numpy as np

from benchmarks.site import Media, Site, beside, media, send
from tests.detection.person import Person

WAITING = 6  # analyses that are kept waiting or running
READERS, PROGRAMS = 4, 2
THINKS = (0.2, 0.8)  # seconds between an answer and the next request
MOST = 1.0  # seconds: a page's 95th percentile
ACTIVE = "SELECT count(*) FROM detection_analysis WHERE status IN ('queued', 'running')"
DONE = "SELECT count(*) FROM detection_analysis WHERE status = 'succeeded'"


class Clock:
    """Seconds by kind of request."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)
        self._lock = threading.Lock()

    def time(self, kind: str, ask: Callable[[], httpx.Response]) -> httpx.Response:
        began = time.perf_counter()
        answer = ask()
        with self._lock:
            self.taken[kind].append(time.perf_counter() - began)
        if answer.status_code >= 500:
            raise AssertionError(f"{kind}: {answer.status_code} {answer.text[:500]}")
        return answer


def keep_busy(site: Site, token: str, files: list[Media], clock: Clock, over: threading.Event) -> None:
    """Send the next file whenever fewer than ``WAITING`` wait."""
    with site.client(token) as client:
        for number in itertools.count():
            while site.rows(ACTIVE)[0][0] >= WAITING:
                if over.wait(0.1):
                    return
            if over.is_set():
                return
            began = time.perf_counter()
            send(client, files[number % len(files)], f"load-{id(clock)}-{number}")
            clock.taken["API: upload"].append(time.perf_counter() - began)


def read_pages(person: Person, clock: Clock, over: threading.Event) -> None:
    """As somebody who goes from the start page to the history and opens results."""
    chance = random.Random(id(person))
    person.http.headers["Accept"] = "text/html"
    while not over.is_set():
        clock.time("page: start", lambda: person.http.get("/"))
        history = clock.time("page: history", lambda: person.http.get("/analyses/"))
        links = re.findall(r'href="(/analyses/[0-9a-f-]{36}/)"', history.text)
        for link in chance.sample(links, min(2, len(links))):
            page = clock.time("page: analysis", lambda link=link: person.http.get(link))
            for picture in re.findall(r'src="(/media/[^"]+\.jpg)"', page.text)[:3]:
                clock.time("media: picture", lambda picture=picture: person.http.get(picture))
            over.wait(chance.uniform(*THINKS))
        clock.time("page: model", lambda: person.http.get("/model/"))
        over.wait(chance.uniform(*THINKS))


def ask_api(client: httpx.Client, clock: Clock, over: threading.Event) -> None:
    chance = random.Random(id(client))
    while not over.is_set():
        rows = clock.time("API: list", lambda: client.get("/api/v1/analyses/")).json()["results"]
        for row in chance.sample(rows, min(3, len(rows))):
            clock.time("API: analysis", lambda row=row: client.get(f"/api/v1/analyses/{row['id']}/"))
            over.wait(chance.uniform(*THINKS))
        over.wait(chance.uniform(*THINKS))


def run(site: Site, seconds: float, clock: Clock) -> int:
    """Load a site for so long. Returns how many analyses were finished."""
    files = media(11, photos=8, clips=4)
    with Person(site.server) as first:
        token = first.make_token()
        cookies = first.http.cookies
        readers = [Person(site.server) for _ in range(READERS)]
        clients = [site.client(token) for _ in range(PROGRAMS)]
        try:
            for reader in readers:  # they look at what the first one sent
                reader.http.cookies = cookies
            jobs = [lambda over: keep_busy(site, token, files, clock, over)]
            jobs += [lambda over, reader=reader: read_pages(reader, clock, over) for reader in readers]
            jobs += [lambda over, client=client: ask_api(client, clock, over) for client in clients]
            before = site.rows(DONE)[0][0]
            with beside(*jobs) as over:
                over.wait(seconds)
            return int(site.rows(DONE)[0][0]) - int(before)
        finally:
            for client in [*clients, *(reader.http for reader in readers)]:
                client.close()


def table(clock: Clock) -> dict[str, float]:
    """Print percentiles in milliseconds. Returns the 95th in seconds, by kind."""
    print(f"{'':16} {'n':>6} {'p50':>6} {'p90':>6} {'p95':>6} {'p99':>6} {'max':>6}   ms")
    found = {}
    for kind, taken in sorted(clock.taken.items()):
        p50, p90, p95, p99, most = (1000 * np.percentile(taken, share) for share in (50, 90, 95, 99, 100))
        print(f"{kind:16} {len(taken):6} {p50:6.0f} {p90:6.0f} {p95:6.0f} {p99:6.0f} {most:6.0f}")
        found[kind] = p95 / 1000
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=240)
    options = parser.parse_args()
    clock = Clock()
    with Site() as site:
        finished = run(site, options.seconds, clock)
    slowest = table(clock)
    print(
        f"{finished} analyses in {options.seconds:.0f} s; load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
    )
    late = {kind: seconds for kind, seconds in slowest.items() if kind.startswith("page") and seconds > MOST}
    if late:
        raise SystemExit(f"over {MOST:.0f} s at the 95th percentile: {late}")


if __name__ == "__main__":
    main()
