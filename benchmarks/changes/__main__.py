"""What each change brought, and whether the answers stayed: ``python -m benchmarks.changes``.

    --rounds N      of each measurement; the engine with all changes and with each one taken back take turns in each
    --commit REV    an engine of the past to compare with, instead of the one before it was made faster
    --quick         a few small files, once: whether it works, not how fast it is

Prints the tables and keeps them in runs/bench. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.changes import apart, ways
from benchmarks.changes.agreement import (
    AUC_WITHIN,
    SCORES_WITHIN,
    Clip,
    Pair,
    Ranking,
    compare_rankings,
    compare_scores,
    look,
    validation_clips,
)
from benchmarks.changes.measuring import Outcome, Run
from benchmarks.changes.ways import Change
from benchmarks.speed import machine
from benchmarks.speed.files import File, Maker, clips
from benchmarks.speed.report import Report, Table, median, number, save

RESULTS = Path("runs/bench")
MEDIA = Path("runs/bench-media")
BEFORE = "caabd59"  # the last commit before the engine was made faster
ROUNDS = 3
NOTHING = "–"
ELSEWHERE = (
    "Not here, because no file shows it: that workers load the model before their first message and look for work ten "
    "times a second (`python -m benchmarks.speed --only web`). Other budgets of decoding: `python -m "
    "benchmarks.decode_budget`; other ways to read a video: `python -m benchmarks.decode_sampling`."
)


@dataclass(frozen=True, slots=True)
class Plan:
    files: Sequence[File]
    clips: Sequence[Clip]
    rounds: int
    network: bool  # whether TensorFlow runs as well


def plan(maker: Maker, rounds: int) -> Plan:
    videos = [*clips(2), maker.video(720, 30), maker.video(1080, 60)]
    photos = [maker.photo(1152, 864), maker.photo(4000, 3000)]
    return Plan([*videos, *photos], validation_clips(), rounds, network=True)


def small_plan(maker: Maker) -> Plan:
    """To see that it works: what it says of ranks means nothing."""
    video, photo = maker.video(240, 0.4), maker.photo(320, 240)
    return Plan([video, photo], [Clip(video.path, is_fake) for is_fake in (False, True)], 1, network=False)


class Measured:
    """Outcomes of one change: of each file those of all rounds, in pairs."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.pairs: dict[str, list[Pair]] = defaultdict(list)
        self.ranking: Ranking | None = None

    def seconds(self, file: File, what: str) -> tuple[float, float, float] | None:
        """Medians with and without, and the median of the rounds' ratios. None if the change does not concern it."""
        rounds = [
            (now[what], back[what])  # type: ignore[literal-required]
            for now, back in self.pairs[file.name]
            if now[what] is not None and back[what] is not None  # type: ignore[literal-required]
        ]
        if not rounds:
            return None
        now, back = zip(*rounds, strict=True)
        return median(now), median(back), median(b / n for n, b in rounds)


def measure(changes: Sequence[Change], files: Sequence[File], rounds: int) -> list[Measured]:
    """All ways take turns with each file in each round. Each runs it only once, however many are compared with it."""
    found = [Measured(change) for change in changes]
    for run in dict.fromkeys(run for one in changes for run in (one.now, one.back)):
        run(files[0].path)  # what is loaded once is loaded now
    for _, file in itertools.product(range(rounds), files):
        concerned = [one for one in found if one.change.files(file)]
        outcomes: dict[Run, Outcome] = {}
        for run in dict.fromkeys(run for one in concerned for run in (one.change.now, one.change.back)):
            outcomes[run] = run(file.path)
        for one in concerned:
            one.pairs[file.name].append((outcomes[one.change.now], outcomes[one.change.back]))
    return found


def rank(found: Sequence[Measured], clips: Sequence[Clip]) -> None:
    for one in found:
        if one.change.looks and clips:
            now, back = one.change.validation or (one.change.now, one.change.back)
            one.ranking = compare_rankings(clips, look(clips, now, back))


def apart_changes(commits: Sequence[str], stack: ExitStack, folder: Path) -> tuple[list[Change], list[str]]:
    """Today's engine beside older ones, each in a process of its own; and what could not be had."""
    changes, lacking = [], []
    now = stack.enter_context(apart.engine())
    for commit in commits:
        try:
            tree = apart.unpack(commit, folder / commit)
        except apart.UnknownCommitError as error:
            lacking.append(f"Not measured, the engine of {commit}: {error}.")
            continue
        back = stack.enter_context(apart.engine(tree))
        changes.append(Change(f"everything since {commit}", "that commit's engine", now.run, back.run, looks=True))
    return changes, lacking


def network_changes(stack: ExitStack, folder: Path) -> tuple[list[Change], list[str]]:
    """LiteRT beside TensorFlow, with a network that both can run; or why not."""
    command = [sys.executable, "-m", "benchmarks.changes.network", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return [], [f"Not measured, TensorFlow instead of LiteRT: {why} (see requirements-training.txt)."]
    options = {"models_dir": str(folder), "model": "fresh"}
    now, back = (stack.enter_context(apart.engine(**options, runtime=name)) for name in ("litert", "tensorflow"))
    before = "TensorFlow (a network of the shipped architecture, random weights)"
    ready = f"The engine takes its first file after {now.ready:.1f} s with LiteRT, {back.ready:.1f} s with TensorFlow."
    return [Change("LiteRT runs the network", before, now.run, back.run)], [ready]


def tables(found: Sequence[Measured], files: Sequence[File], rounds: int) -> Report:
    report = Report([_seconds(found, files, rounds), _first(found, files), _answers(found)])
    for one in found:
        report.figures[one.change.done] = {
            "instead_of": one.change.before,
            "files": one.pairs,
            "scores": asdict(compare_scores(_all(one))),
            "validation": one.ranking and asdict(one.ranking),
        }
    return report


def _all(one: Measured) -> list[Pair]:
    return [pair for pairs in one.pairs.values() for pair in pairs]


def _seconds(found: Sequence[Measured], files: Sequence[File], rounds: int) -> Table:
    table = Table("What each change brought", ["change", "instead of", *(file.name for file in files)])
    for one in found:
        table.add(one.change.done, one.change.before, *(_cell(one.seconds(file, "seconds")) for file in files))
    table.notes = [
        "Seconds of one analysis with the change → without it, and how many times as long that is. Each change is "
        f"taken back alone. Medians of {rounds} rounds in which all ways take turns.",
        ELSEWHERE,
    ]
    return table


def _first(found: Sequence[Measured], files: Sequence[File]) -> Table:
    videos = [file for file in files if file.is_video]
    table = Table("Seconds until the first score", ["change", *(file.name for file in videos)])
    for one in found:
        if any(one.pairs[file.name] for file in videos):
            table.add(one.change.done, *(_cell(one.seconds(file, "first")) for file in videos))
    table.notes = ["With the change → without it, and how many times as long that is."]
    return table


def _cell(seconds: tuple[float, float, float] | None) -> str:
    if seconds is None:
        return NOTHING
    now, back, ratio = seconds
    return f"{number(now)} → {number(back)} (× {ratio:.2f})"


def _answers(found: Sequence[Measured]) -> Table:
    head = ["change", "faces", "only one way", "largest difference of a score", f"at most {SCORES_WITHIN:g}"]
    head += ["AUC of frames", f"loses at most {AUC_WITHIN:g}", "AUC of clips", "verdicts that differ"]
    table = Table("What became of the answers", head)
    for one in found:
        scores, ranking = compare_scores(_all(one)), one.ranking
        row: list[object] = [one.change.done, scores.faces, scores.others, f"{scores.largest:.1e}"]
        row.append(NOTHING if one.change.looks else _word(scores.same))
        if ranking is None:
            table.add(*row, *[NOTHING] * 4)
            continue
        frames, files = (
            f"{pair[1]:.4f} → {pair[0]:.4f}" if pair else NOTHING for pair in (ranking.faces, ranking.files)
        )
        table.add(*row, frames, _word(ranking.held), files, f"{ranking.verdicts} of {ranking.clips}")
    worth = next((1 / one.ranking.pairs for one in found if one.ranking and one.ranking.pairs), None)
    table.notes = [
        "Faces of all files and rounds above, the same one if time and place are the same; where other frames are "
        "looked at, there are none to compare. AUC: without the change → "
        "with it, over the validation clips beside the checkout, for changes of what is looked at: of each face's "
        "logit against its clip's label, and of the clips' scores"
        + (f", in which one pair of clips is worth {worth:.4f}. " if worth else ". ")
        + "For sampling the clips are encoded with the keyframes, and decoded with the share of the budget, of a "
        f"video of {ways.LONGER:.0f} s.",
    ]
    return table


def _word(held: bool) -> str:
    return "yes" if held else "**no**"


def main(arguments: Sequence[str] | None = None, *, results: Path = RESULTS, media: Path = MEDIA) -> Path:
    """Returns the JSON file that was written."""
    options = _options(arguments)
    busy, before = machine.is_busy(), machine.load()
    maker = Maker(media)
    chosen = small_plan(maker) if options.quick else plan(maker, options.rounds)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        others, lacking = apart_changes(options.commit or [BEFORE], stack, folder)
        if chosen.network:
            runtimes, missing = network_changes(stack, folder / "models")
            others, lacking = others + runtimes, lacking + missing
        found = measure([*ways.changes(folder), *others], chosen.files, chosen.rounds)
        rank(found, chosen.clips)
    if not chosen.clips:
        lacking.append("Not measured, AUC: there are no clips beside the checkout.")
    report = tables(found, chosen.files, chosen.rounds)
    report.tables[0].notes += lacking
    about = {**machine.describe(), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    about |= {"load_before": before, "load_after": machine.load(), "busy": busy, "quick": options.quick}
    text = "\n".join(["# What changes brought", "", *(f"- {what}: {value}" for what, value in about.items()), ""])
    text += "\n" + "\n".join(table.markdown() for table in report.tables)
    print(text)
    path = save(results, f"changes-{datetime.now(UTC):%Y%m%d-%H%M%S}", text, {"changes": report}, about=about)
    print(f"Kept in {path} and {path.with_suffix('.md').name} beside it.")
    return path


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.changes", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--commit", action="append", metavar="REV")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
