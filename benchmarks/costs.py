"""What an analysis costs: seconds of CPU, rows in the database, bytes on disk. For planning how large a site must be.

``python -m benchmarks.costs``; Linux, needs ``redis-server`` and PostgreSQL. Files one after the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.faults import wait_for_end
from benchmarks.processes import cpu
from benchmarks.site import Media, Site, media, send

KIND = {
    "photo (480 × 480)": {"photos": 8, "clips": 0},
    "clip (480 × 480, 8 s)": {"photos": 0, "clips": 4, "seconds": 8.0},
}


def measure(site: Site, token: str, files: list[Media], rounds: int) -> dict[str, float]:
    """By analysis: seconds of CPU of worker and web server, KiB in database and folder."""
    assert site.server.process is not None
    pids = {"worker": [worker.process.pid for worker in site.workers], "web": [site.server.process.pid]}
    with site.client(token) as client:
        for item in files[:2]:  # the first ones load the model
            wait_for_end(client, send(client, item, f"warm-{item.name}"))
        before, cpus = _stored(site), _used(pids)
        number = 0
        for number in range(1, rounds * len(files) + 1):
            item = files[number % len(files)]
            wait_for_end(client, send(client, item, f"{item.name}-{number}"))
    after = _stored(site)
    spent = {f"{name} CPU s": (seconds - cpus[name]) / number for name, seconds in _used(pids).items()}
    kept = {name: (after[name] - before[name]) / number / 1024 for name in after}
    return {**spent, **kept}


def _used(pids: dict[str, list[int]]) -> dict[str, float]:
    return {name: sum(map(cpu, several)) for name, several in pids.items()}


def _stored(site: Site) -> dict[str, float]:
    tables = "FROM pg_class WHERE starts_with(relname, 'detection_') AND relkind = 'r'"
    files = [path.stat().st_size for path in Path(site.folder, "site", "media").rglob("*") if path.is_file()]
    return {
        "database KiB": float(site.rows(f"SELECT sum(pg_total_relation_size(oid)) {tables}")[0][0]),
        "disk KiB": float(sum(files)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with Site() as site:
        token = site.token()
        for name, what in KIND.items():
            figures = measure(site, token, media(3, **what), options.rounds)  # type: ignore[arg-type]
            print(name + ":", ", ".join(f"{what} {value:.2f}" for what, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
