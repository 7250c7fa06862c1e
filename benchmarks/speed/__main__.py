"""Measure, print the tables, and keep them in runs/bench: ``python -m benchmarks.speed``.

    --only end_to_end,web,limits,peers   some of the sections
    --rounds N    of each measurement; all ways and files take turns in each, so that other load hits all alike
    --quick       a few small files, once, and no cold starts: whether it works, not how fast it is
    --long        also 4K for ten minutes

Linux, needs ``redis-server`` and PostgreSQL; ``peers`` needs requirements-training.txt. Leave the machine alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from benchmarks.site import Site
from benchmarks.speed import end_to_end, limits, machine, web
from benchmarks.speed.files import CLIPS, File, Maker, clips
from benchmarks.speed.report import Report, goals, save

SERVED = ("end_to_end", "web")  # by a site
SECTIONS = (*SERVED, "limits", "peers")
SETTINGS = {"VERIFRAME_THREADS": "2", "VERIFRAME_MAX_UPLOAD_MB": "4096"}
MEDIA = Path("runs/bench-media")
RESULTS = Path("runs/bench")
MOST_FRAMES = 60  # that a peer does of one file: they need some 100 ms for each


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured with what."""

    files: Sequence[File]
    floors: Sequence[File]  # of these, against limits
    peers: Sequence[File]
    rounds: int
    frames: int  # that a peer does of each file
    size: web.Size
    small: bool = False


def plan(maker: Maker, *, rounds: int, long: bool) -> Plan:
    """All that the tables show. Makes what files are missing."""
    lengths = {720: (10, 30, 60, 600), 1080: (10, 60, 600), 2160: (10, 60, *([600] if long else []))}
    videos = {(height, one): maker.video(height, one) for height, several in lengths.items() for one in several}
    photos = [maker.photo(1152, 864), maker.photo(4000, 3000)]
    shared = clips()
    return Plan(
        files=[*shared, *videos.values(), *photos],
        floors=[*shared[:1], videos[720, 30], videos[1080, 60], videos[1080, 600], videos[2160, 60], photos[1]],
        peers=[*shared[:2], videos[720, 30], videos[1080, 60]],
        rounds=rounds,
        frames=MOST_FRAMES,
        size=web.Size(),
    )


def small_plan(maker: Maker) -> Plan:
    """The same in small, to see that it works."""
    video, photo = maker.video(480, 0.4), maker.photo(640, 480)
    size = web.Size(requests=3, uploads=4, watchers=5, events=3, starts=0, clip=0.4)
    return Plan(files=[video, photo], floors=[video, photo], peers=[video], rounds=1, frames=2, size=size, small=True)


def measurements(names: Sequence[str], plan: Plan) -> Iterator[tuple[str, Report | str]]:
    """Section by section what was found, or why it cannot be measured here. The first two share a site."""
    served = [name for name in SERVED if name in names]
    if served:
        with Site(**SETTINGS) as site:
            for name in served:
                yield name, _served(name, site, plan)
    if "limits" in names:
        yield "limits", limits.measure(plan.floors, plan.rounds)
    if "peers" in names:
        yield "peers", _peers(plan)


def _served(name: str, site: Site, plan: Plan) -> Report:
    if name == "web":
        return web.measure(site, plan.size)
    return end_to_end.measure(site, plan.files, plan.rounds, fresh=not plan.small)


def _peers(plan: Plan) -> Report | str:
    try:  # by its name: TensorFlow takes half a gigabyte, and not everybody has it
        measure: Any = resolve_name("benchmarks.speed.peers:measure")
    except ImportError as error:
        return f"Not measured: {error} (see requirements-training.txt)."
    return measure(plan.peers, plan.rounds, plan.frames, small=plan.small)


def main(arguments: Sequence[str] | None = None, *, results: Path = RESULTS, media: Path = MEDIA) -> Path:
    """Returns the JSON file that was written."""
    options = _options(arguments)
    busy, before = machine.is_busy(), machine.load()
    maker = Maker(media)
    chosen = small_plan(maker) if options.quick else plan(maker, rounds=options.rounds, long=options.long)
    shared = f"{len(clips())} of {CLIPS}" if clips() else f"none: there is no {CLIPS}"
    about = {**machine.describe(), "clips": shared, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    parts, reports = [_head(about)], {}
    print(parts[0], flush=True)
    began = time.perf_counter()
    for name, found in measurements(options.only, chosen):
        took, began = time.perf_counter() - began, time.perf_counter()
        if isinstance(found, str):
            text = found
        else:
            reports[name] = found
            text = "\n".join(table.markdown() for table in found.tables)
        parts.append(f"## {name}\n\n{text}\nMeasured in {took:.0f} s.\n")
        print(parts[-1], flush=True)
    parts.append(_foot(goals(reports.values()).markdown(), busy, before, machine.load()))
    print(parts[-1])
    about |= {"load_before": before, "load_after": machine.load(), "busy": busy, "quick": options.quick}
    path = save(results, f"{datetime.now(UTC):%Y%m%d-%H%M%S}", "\n".join(parts), reports, about=about)
    print(f"Kept in {path} and {path.with_suffix('.md').name} beside it.")
    return path


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", type=_sections, default=list(SECTIONS), metavar="SECTION,…")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true")
    return parser.parse_args(arguments)


def _sections(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    return names


def _head(about: dict[str, str]) -> str:
    lines = [f"- {what}: {value}" for what, value in about.items()]
    return "\n".join(["# Veriframe's speed", "", *lines, ""])


def _foot(reach: str, busy: bool, before: float, after: float) -> str:
    load = f"Load average {before:.1f} before and {after:.1f} after."
    if busy:
        load += " **Something else was at work when this began: believe ratios, not seconds.**"
    return f"{reach}\n{load}\n"


if __name__ == "__main__":
    main()
