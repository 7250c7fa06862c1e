"""From an accepted upload to a stored verdict on a running site, and the engine alone on the same files."""

from __future__ import annotations

import io
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.sync.client import connect

from benchmarks.processes import Peak
from benchmarks.site import Site
from benchmarks.speed.files import File
from benchmarks.speed.report import Goal, Report, Table, median
from detection.engine.factory import EngineConfig, build_pipeline

ENDED = ("succeeded", "failed", "cancelled")
STAGES = ("probe", "decode", "faces", "crop", "classify", "aggregate", "explain", "store")
OPEN_SECONDS = 30
ROW = "SELECT status, verdict, timings FROM detection_analysis WHERE id = %s"


class Watched(io.FileIO):
    """A file that knows when its last byte was taken."""

    taken = 0.0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size) or b""
        self.taken = time.perf_counter()
        return content


@dataclass(frozen=True, slots=True)
class Journey:
    """One file's way through the site. Seconds from the 202 on, but for ``upload``.

    Attributes:
        upload: from the first byte sent to the 202.
        first: until a client that watches has the first score; None where no face could be scored.
        first_of_upload: the same from the last byte sent on.
        verdict: until the client has the verdict, which then stands in the database.
        timings: what the worker says of its stages.
    """

    upload: float
    first: float | None
    first_of_upload: float | None
    verdict: float
    timings: dict[str, float]
    words: str


@dataclass(slots=True)
class Found:
    """All that was found about one file."""

    file: File
    journeys: list[Journey] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)  # seconds of the engine in this process
    together: float = 0.0  # MiB at most, of worker and decoder
    high_water: float = 0.0  # MiB, see ``Peak.alone``

    def median(self, name: str) -> float:
        return median(getattr(journey, name) for journey in self.journeys)

    def stage(self, name: str) -> float:
        return median(journey.timings.get(name, 0.0) for journey in self.journeys)


class Visitor:
    """Somebody who sends files to a site and watches what becomes of them."""

    def __init__(self, site: Site, client: httpx.Client, token: str) -> None:
        self.site, self._client = site, client
        self._headers = {"Authorization": f"Token {token}"}

    def send(self, file: File) -> Journey:
        with Watched(file.path) as content:
            began = time.perf_counter()
            answer = self._client.post(
                "/api/v1/analyses/",
                files={"file": (file.path.name, content)},
                data={"force": "true"},
                timeout=600,
            )
            accepted = time.perf_counter()
            taken = content.taken
        if answer.status_code != 202:
            raise AssertionError(f"{file.name} was refused: {answer.status_code} {answer.text[:300]}")
        id_ = answer.json()["id"]
        first, ended = self._watch(id_)
        status, verdict, timings = self.site.rows(ROW, id_)[0]
        if status != "succeeded":
            raise AssertionError(f"{file.name}: {status}\n{self.site.server.log.read_text()[-2000:]}")
        return Journey(
            upload=accepted - began,
            first=first and first - accepted,
            first_of_upload=first and first - taken,
            verdict=ended - accepted,
            timings=timings,
            words=verdict,
        )

    def _watch(self, id_: str) -> tuple[float | None, float]:
        """When the first score was there, and when the end, on the clock of ``time.perf_counter``."""
        first = None
        address = f"ws{self.site.server.url.removeprefix('http')}/ws/analyses/{id_}/"
        with connect(address, additional_headers=self._headers, open_timeout=OPEN_SECONDS) as socket:
            for text in socket:
                now = time.perf_counter()
                event = json.loads(text)
                if first is None and event.get("points"):
                    first = now
                if event.get("status") in ENDED:
                    return first, now
        raise AssertionError(f"the site stopped telling of {id_}")


def measure(site: Site, files: Sequence[File], rounds: int, *, fresh: bool = True) -> Report:
    """Every file ``rounds`` times, in turn; one more time for memory, which is not timed.

    Args:
        fresh: start a worker anew to see what memory a file takes. Without, what came before is in it.
    """
    found = {file.name: Found(file) for file in files}
    pipeline = build_pipeline(EngineConfig())
    token = site.token()
    with site.client(token) as client:
        visitor = Visitor(site, client, token)
        for warm in _one_of_each(files):
            visitor.send(warm)
            pipeline.run(warm.path)
        for _, one in itertools.product(range(rounds), found.values()):
            one.journeys.append(visitor.send(one.file))
            began = time.perf_counter()
            pipeline.run(one.file.path)
            one.alone.append(time.perf_counter() - began)
        for one in found.values():
            _weigh(visitor, one, fresh=fresh)
    return _report(list(found.values()), rounds)


def _one_of_each(files: Sequence[File]) -> list[File]:
    """What each kind of worker loads its model with: the shortest of its files."""
    kinds: dict[bool, list[File]] = defaultdict(list)
    for file in files:
        kinds[file.is_video].append(file)
    return [min(some, key=lambda file: file.path.stat().st_size) for some in kinds.values()]


def _weigh(visitor: Visitor, one: Found, *, fresh: bool) -> None:
    """Memory of a worker and what belongs to it while it does this file."""
    name = "videos" if one.file.is_video else "images"
    worker = next(worker for worker in visitor.site.workers if worker.name == name)
    if fresh:
        worker.stop()
        worker.start()
    with Peak(worker.process.pid) as peak:
        visitor.send(one.file)
    one.together, one.high_water = peak.together, peak.alone


def _report(found: list[Found], rounds: int) -> Report:
    report = Report(tables=[_journeys(found, rounds), _stages(found)], goals=_goals(found))
    report.figures = {one.file.name: _raw(one) for one in found}
    return report


def _journeys(found: list[Found], rounds: int) -> Table:
    head = [
        "file",
        "upload, s",
        "first score, s",
        "verdict, s",
        "times real time",
        "engine alone, s",
        "peak memory, MiB",
    ]
    table = Table("End to end", head)
    for one in found:
        first = _first(one, "first")
        pace = f"{one.file.seconds / one.median('verdict'):.0f}" if one.file.is_video else "–"
        memory = f"{one.together:.0f} (≤ {one.high_water:.0f})"
        table.add(
            one.file.name,
            one.median("upload"),
            "–" if first is None else first,
            one.median("verdict"),
            pace,
            median(one.alone),
            memory,
        )
    table.notes = [
        f"Medians of {rounds} rounds over all files in turn. Upload: from the first byte sent to the 202. First score "
        "and verdict: from the 202 until a client that watches the WebSocket has them; it connects after the 202, as "
        "the page does. Engine alone: in a process without a site.",
        "Peak memory: of a freshly started worker with all its processes, the one that decodes included, in a run of "
        "its own; what they share is counted once, in brackets the sum of what each has had at most.",
    ]
    return table


def _first(one: Found, name: str) -> float | None:
    values = [getattr(journey, name) for journey in one.journeys]
    return None if None in values else median(values)


def _stages(found: list[Found]) -> Table:
    table = Table("End to end, seconds by stage", ["file", *STAGES, "engine", "site"])
    for one in found:
        stages = [one.stage(stage) for stage in STAGES]
        engine = one.stage("total")
        table.add(
            one.file.name, *stages, engine, one.median("verdict") - engine - one.stage("explain") - one.stage("store")
        )
    table.notes = [
        "As the worker stores them; stages that run beside each other are each counted in full. Engine: from probe to "
        "aggregate as the clock has it, with what the site does to tell of progress. Site: what is left of the time to "
        "the verdict: queue, claim, events, the commit."
    ]
    return table


def _goals(found: list[Found]) -> list[Goal]:
    by_name = {one.file.name: one for one in found}
    goals = []
    for name, share in (("720p, 30 s", 20), ("1080p, 10 min", 120)):
        if (one := by_name.get(name)) is not None:
            goals.append(
                Goal(
                    f"{name}: verdict within 1/{share} of real time",
                    one.median("verdict"),
                    one.file.seconds / share,
                    "s",
                )
            )
    if (long := by_name.get("1080p, 10 min")) is not None:
        goals.append(Goal("1080p, 10 min: memory of the worker", long.together, 600, "MiB"))
    for one in found:
        if not one.file.is_video:
            goals.append(Goal(f"{one.file.name}: verdict, warm", one.median("verdict"), 0.3, "s"))
        if (first := _first(one, "first_of_upload")) is not None:
            goals.append(Goal(f"{one.file.name}: first score after the upload's last byte", first, 1.0, "s"))
    return goals


def _raw(one: Found) -> dict[str, Any]:
    return {
        "seconds": one.file.seconds,
        "bytes": one.file.path.stat().st_size,
        "verdicts": sorted({journey.words for journey in one.journeys}),
        "upload": [journey.upload for journey in one.journeys],
        "first": [journey.first for journey in one.journeys],
        "first_of_upload": [journey.first_of_upload for journey in one.journeys],
        "verdict": [journey.verdict for journey in one.journeys],
        "timings": [journey.timings for journey in one.journeys],
        "engine_alone": one.alone,
        "peak_mib": one.together,
        "sum_of_high_water_mib": one.high_water,
    }
