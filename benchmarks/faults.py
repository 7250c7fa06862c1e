"""Break everything while files are analysed, and look whether each got its result, once and the right one.

``python -m benchmarks.faults [--uploads 200]``; needs ``redis-server`` and PostgreSQL. Workers are killed with SIGKILL
at random, Redis is started again twice, each time with an empty memory, and PostgreSQL once. A file is given up after
``VERIFRAME_ATTEMPTS`` workers died of it; here they die of us, so that is set out of reach.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg

from benchmarks.site import Media, Site, beside, media, send

SEED = 7
AWAY = (3.0, 8.0)  # seconds: Redis, PostgreSQL
ENDED = ("succeeded", "failed", "cancelled")
SETTINGS = {"VERIFRAME_LEASE": "8", "VERIFRAME_ATTEMPTS": "50", "VERIFRAME_RESULTS_DAYS": "0"}

# What is compared: everything that a result says, but for names, times and addresses.
RESULT = """
SELECT a.status, a.error_code, a.verdict, round(a.score::numeric, 6)::text, a.total_frames, a.deepfake_frames,
       a.model_sha256,
       (SELECT count(*) FROM detection_facetrack t WHERE t.analysis_id = a.id),
       (SELECT string_agg(s.number || ':' || round(s.score::numeric, 6), ',' ORDER BY s.number)
          FROM detection_facescore s JOIN detection_facetrack t ON t.id = s.track_id WHERE t.analysis_id = a.id)
  FROM detection_analysis a WHERE a.id = %s
"""


def run(
    *,
    uploads: int,
    photos: int,
    clips: int,
    pause: tuple[float, float],
    away: tuple[float, float] = AWAY,
    patience: float = 1800,
    seed: int = SEED,
) -> dict[str, Any]:
    """The whole run. Returns its figures; raises AssertionError if anything was lost, doubled or wrong.

    Args:
        photos, clips: how many different files there are; they are sent in turn.
        pause: seconds between two kills, from and to.
        away: seconds for which Redis and PostgreSQL are, each time.
        patience: seconds after which whatever has not ended counts as lost.
    """
    with Site(**SETTINGS) as site:
        token = site.token()
        files = media(seed, photos=photos, clips=clips)
        expected = undisturbed(site, token, files)
        began = time.monotonic()
        chaos = Chaos(site, random.Random(seed), uploads, pause, away)
        with beside(chaos.kill_workers, chaos.restart_services):
            sent = send_all(site, token, files, uploads, chaos)
            chaos.wait(patience)
        seconds = time.monotonic() - began
        check(site, sent, expected, before=len(files))
        attempts = Counter(tries for (tries,) in site.rows("SELECT attempts FROM detection_analysis"))
        letters = site.rows("SELECT count(*) FROM detection_deadletter")[0][0]
    return {**chaos.done, "uploads": uploads, "seconds": round(seconds), "attempts": dict(attempts), "letters": letters}


def undisturbed(site: Site, token: str, files: list[Media]) -> dict[str, tuple[Any, ...]]:
    """What each file's result is when nothing happens, by its name."""
    with site.client(token) as client:
        ids = {item.name: send(client, item, f"calm-{item.name}") for item in files}
        for id_ in ids.values():
            wait_for_end(client, id_)
    results = {name: site.rows(RESULT, id_)[0] for name, id_ in ids.items()}
    assert all(result[0] == "succeeded" for result in results.values()), results
    return results


def wait_for_end(client: httpx.Client, id_: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while client.get(f"/api/v1/analyses/{id_}/").raise_for_status().json()["status"] not in ENDED:
        assert time.monotonic() < end, f"{id_} did not end"
        time.sleep(0.2)


def send_all(site: Site, token: str, files: list[Media], uploads: int, chaos: Chaos) -> dict[str, str]:
    """Send from three sides at once. Returns the names of the files by the ids of their analyses."""
    turn = list(itertools.islice(itertools.cycle(files), uploads))
    with site.client(token) as client, ThreadPoolExecutor(3) as pool:

        def one(number: int) -> tuple[str, str]:
            id_ = send(client, turn[number], f"upload-{number}")
            chaos.sent += 1
            return id_, turn[number].name

        return dict(pool.map(one, range(uploads)))


class Chaos:
    """What goes wrong, by how much of the work is done. ``done`` counts it."""

    def __init__(
        self, site: Site, chance: random.Random, uploads: int, pause: tuple[float, float], away: tuple[float, float]
    ) -> None:
        self.site, self.chance, self.uploads, self.pause, self.away = site, chance, uploads, pause, away
        self.done = {"kills": 0, "redis": 0, "postgresql": 0}
        self.sent = 0
        self._ended = 0
        self.before = self.ended()
        self.finished = threading.Event()

    def ended(self) -> int:
        """How many analyses have; as last seen while the database is away."""
        with contextlib.suppress(psycopg.OperationalError):
            query = "SELECT count(*) FROM detection_analysis WHERE status = ANY(%s)"
            self._ended = int(self.site.rows(query, list(ENDED))[0][0])
        return self._ended

    def kill_workers(self, over: threading.Event) -> None:
        while not over.wait(self.chance.uniform(*self.pause)):
            worker = self.chance.choice(self.site.workers)
            worker.kill()
            worker.start()
            self.done["kills"] += 1

    def restart_services(self, over: threading.Event) -> None:
        plan = [
            (0.25, "redis", self.site.redis, self.away[0]),
            (0.5, "postgresql", self.site.postgresql, self.away[1]),
            (0.75, "redis", self.site.redis, self.away[0]),
        ]
        for share, name, service, away in plan:
            while self.ended() - self.before < share * self.uploads:
                if over.wait(0.5):
                    return
            service.stop()
            over.wait(away)
            service.start()
            self.done[name] += 1
            print(f"{name} was away for {away:.0f} s, at {share:.0%}", flush=True)
        self.finished.set()

    def wait(self, seconds: float) -> None:
        """Until all is broken and mended, and every analysis has ended."""
        end = time.monotonic() + seconds
        while not (self.finished.is_set() and self.ended() - self.before >= self.uploads):
            assert time.monotonic() < end, f"{self.ended() - self.before} of {self.uploads} ended, {self.done}"
            time.sleep(0.5)


def check(site: Site, sent: dict[str, str], expected: dict[str, tuple[Any, ...]], *, before: int) -> None:
    """None lost, none doubled, none wrong, nothing left behind."""
    (number,) = site.rows("SELECT count(*) FROM detection_analysis")[0]
    assert number == len(sent) + before, f"{len(sent)} were sent, {number - before} are there"
    wrong = {id_: result for id_, name in sent.items() if (result := site.rows(RESULT, id_)[0]) != expected[name]}
    assert not wrong, wrong
    for id_ in sent:
        _check_pictures(site, id_)
    hidden = [path for path in (site.folder / "site" / "media").rglob(".*") if path.name not in KNOWN]
    assert not hidden, hidden


KNOWN = {".veriframe", ".incoming"}


def _check_pictures(site: Site, id_: str) -> None:
    """On disk is what the rows speak of."""
    told = site.rows(
        "SELECT s.number FROM detection_facescore s JOIN detection_facetrack t ON t.id = s.track_id "
        "WHERE t.analysis_id = %s AND s.has_pictures",
        id_,
    )
    (upload,) = site.rows("SELECT upload_id FROM detection_analysis WHERE id = %s", id_)[0]
    folder = site.folder / "site" / "media" / str(upload) / id_
    found = {int(path.stem) for path in (folder / "faces").glob("*.jpg")}
    assert found == {number for (number,) in told}, (id_, found, told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    figures = run(uploads=options.uploads, photos=7, clips=3, pause=(3, 9), seed=options.seed)
    for name, value in figures.items():
        print(f"{name}: {value}")
    print("every upload has exactly one result, the same as without faults")


if __name__ == "__main__":
    main()
