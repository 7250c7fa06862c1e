"""What looking at half of the frames first saves, and whether anything is lost by it.

``python -m benchmarks.adaptive_sampling [--only val,sparse,train,partial,time] [--rounds 5]``: runs the engine over the
same videos in two ways, one after the other for each: all frames always, and adaptively (the second half of them only
where the first does not settle the matter). The videos are

* the validation clips as they are; and encoded anew with as few keyframes as 30 s have (see ``decode_budget``);
* the training clips, only to count verdicts: the model was trained on the people in them;
* ``partial``: 30 s of genuine clips with 3 or 6 s of a fake one somewhere, of the same person (the same scene goes on)
  or between cuts to other people;
* ``time``: a generated video of 30 s at 720 lines, as it is served, that is with decoding in the sandbox.

Prints tables and keeps them in ``runs/bench``, with a line of JSON for each video.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
from av.video.frame import PictureType
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from benchmarks.decode_budget import KEYFRAMES, RATE, encoded
from benchmarks.speed.files import Maker
from benchmarks.speed.report import Report, Table, median, save
from detection.engine import sampling
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.media import VideoFile
from detection.engine.pipeline import Pipeline
from detection.engine.types import AnalysisResult, Verdict

SECTIONS = ("val", "sparse", "train", "partial", "time")
WAYS = ("all", "adaptive")
SECONDS = 30  # of the videos that are put together here
DRAWS = 2000
ALARMS = (Verdict.SUSPICIOUS, Verdict.MANIPULATED)

Row = dict[str, str]
Ways = dict[str, Pipeline]


@dataclass(slots=True)
class Look:
    """One way's look at one video. ``decoded``: frames that the decoder gave."""

    result: AnalysisResult
    decoded: int


@dataclass(slots=True)
class Pair:
    """Both ways' looks at one video."""

    name: str
    kind: str
    is_fake: bool
    looks: dict[str, Look] = field(default_factory=dict)

    def of(self, way: str) -> AnalysisResult:
        return self.looks[way].result

    @property
    def went_dense(self) -> bool:
        """Whether the adaptive way looked at (nearly) as many frames: broken ones and duplicates may lack."""
        return self.of("adaptive").total_frames > 0.75 * self.of("all").total_frames

    def figures(self) -> dict[str, Any]:
        ways = {
            way: {
                "verdict": look.result.verdict,
                "score": look.result.score,
                "frames": look.result.total_frames,
                "flagged": look.result.deepfake_frames,
                "decoded": look.decoded,
                "timings": look.result.timings,
            }
            for way, look in self.looks.items()
        }
        return {"name": self.name, "kind": self.kind, "fake": self.is_fake, **ways}


@contextmanager
def counting() -> Iterator[Callable[[], int]]:
    """How many frames have been decoded in this process meanwhile."""
    count = 0
    decode = VideoFile._decode

    def counted(self: VideoFile, packet: Any) -> list[Any]:
        nonlocal count
        frames = decode(self, packet)
        count += len(frames)
        return frames

    with patch.object(VideoFile, "_decode", counted):
        yield lambda: count


def look(pair: Pair, ways: Ways, path: Path) -> Pair:
    for way, pipeline in ways.items():
        with counting() as decoded:
            pair.looks[way] = Look(pipeline.run(path), decoded())
    return pair


def clips(rows: Sequence[Row], ways: Ways, data: Path) -> list[Pair]:
    return [
        look(Pair(row["file"], row["method"], row["method"] != "real"), ways, data / row["file"])
        for row in tqdm(rows, unit="clip")
    ]


def sparse(rows: Sequence[Row], ways: Ways, data: Path) -> list[Pair]:
    """Clips with the keyframes of a video of 30 s, and the share of their frames that the budget leaves of it."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for row in tqdm(rows, unit="clip"):
            path = encoded(data / row["file"], Path(folder), math.ceil(SECONDS * RATE / KEYFRAMES))
            with av.open(str(path)) as container:
                frames = container.streams.video[0].frames
            budget = round(frames * sampling.DECODE_BUDGET / (SECONDS * RATE))
            with patch.object(sampling, "DECODE_BUDGET", budget):
                pairs.append(look(Pair(row["file"], row["method"], row["method"] != "real"), ways, path))
    return pairs


# --- videos of which a part is manipulated ----------------------------------------------------------------------------


def partial(rows: Sequence[Row], ways: Ways, data: Path) -> list[Pair]:
    """Fake clips of those who are there as genuine, too: among clips of the same person, and among those of others.

    For 3 and for 6 s, in turns.
    """
    real = {row["group"]: data / row["file"] for row in rows if row["method"] == "real"}
    fakes = [row for row in rows if row["method"] != "real" and target_of(row) in real]
    chance = random.Random(9)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for number, row in enumerate(tqdm(fakes, unit="fake")):
            target = target_of(row)
            others = chance.sample([path for group, path in sorted(real.items()) if group != target], 4)
            long = number % 2 == 0
            for who, ground, seconds in (
                ("same person", [real[target]], 6 if long else 3),
                ("among others", others, 3 if long else 6),
            ):
                start = chance.uniform(0, SECONDS - seconds)
                path = Path(folder) / "joined.mp4"
                join(ground, data / row["file"], start, seconds, path)
                pair = Pair(f"{row['file']} at {start:.1f} s", f"{who}, {seconds} s", is_fake=True)
                pairs.append(look(pair, ways, path))
    return pairs


def target_of(row: Row) -> str:
    """Who is to be seen: AAA of AAA_BBB; the face is BBB's."""
    return Path(row["file"]).stem.split("_")[0]


def join(ground: Sequence[Path], fake: Path, start: float, seconds: float, target: Path) -> None:
    """The genuine clips one after the other, over and over, but for ``seconds`` from ``start``: the fake one."""
    first, last = round(start * RATE), round((start + seconds) * RATE)
    genuine = cycle(frame for path in ground for frame in pictures(path))
    other = pictures(fake)
    width, height = genuine_size(ground[0])
    options = {"preset": "veryfast", "crf": "18", "g": str(KEYFRAMES), "keyint_min": str(KEYFRAMES)}
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(islice(genuine, SECONDS * RATE)):
            shown = next(other, frame) if first <= number < last else frame
            picture = shown.reformat(width, height, "yuv420p")
            picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, RATE), PictureType.NONE
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def pictures(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def genuine_size(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width // 2 * 2, stream.height // 2 * 2


# --- what came of it --------------------------------------------------------------------------------------------------


def interval(fake: np.ndarray, scores: np.ndarray) -> tuple[float, float, float, float]:
    """AUC of both ways and a 95 % interval of its difference: bootstrap over the videos."""
    chance = np.random.default_rng(0)
    differences = []
    for _ in range(DRAWS):
        drawn = chance.integers(0, len(fake), len(fake))
        if fake[drawn].any() and not fake[drawn].all():
            before, after = (roc_auc_score(fake[drawn], column) for column in scores[drawn].T)
            differences.append(after - before)
    low, high = np.percentile(differences, [2.5, 97.5])
    before, after = (roc_auc_score(fake, column) for column in scores.T)
    return float(before), float(after), float(low), float(high)


def accuracy(name: str, pairs: Sequence[Pair]) -> Table:
    table = Table(f"{name}: {len(pairs)} clips", ["", *WAYS, "difference"])
    table.rows = cost(pairs).rows
    scored = [pair for pair in pairs if None not in (pair.of("all").score, pair.of("adaptive").score)]
    scores = np.array([[pair.of(way).score for way in WAYS] for pair in scored], float)
    before, after, low, high = interval(np.array([pair.is_fake for pair in scored]), scores)
    table.add("AUC", f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f} (95 % {low:+.4f} to {high:+.4f})")
    table.notes.append(differing(pairs))
    table.notes.append(f"Scores differ by {np.abs(scores[:, 1] - scores[:, 0]).max():.3f} at most.")
    return table


def detection(pairs: Sequence[Pair]) -> Table:
    """How many of the videos of each kind get an alarm, and how many show a flagged frame at all."""
    table = Table(f"partial: {len(pairs)} videos of {SECONDS} s", ["", *WAYS, "difference"])
    table.rows = cost(pairs).rows
    for kind in sorted({pair.kind for pair in pairs}):
        own = [pair for pair in pairs if pair.kind == kind]
        alarms = [sum(pair.of(way).verdict in ALARMS for pair in own) for way in WAYS]
        flagged = [sum(pair.of(way).deepfake_frames > 0 for pair in own) for way in WAYS]
        table.add(f"{kind}: suspicious or manipulated, of {len(own)}", *alarms, f"{alarms[1] - alarms[0]:+}")
        table.add(f"{kind}: with a flagged frame, of {len(own)}", *flagged, f"{flagged[1] - flagged[0]:+}")
    table.notes.append(differing(pairs))
    return table


def cost(pairs: Sequence[Pair]) -> Table:
    """In sums."""
    table = Table("", ["", *WAYS, "difference"])
    dense = sum(pair.went_dense for pair in pairs)
    table.add("looked at again", "", f"{dense} of {len(pairs)}", f"{dense / len(pairs):.0%}")
    figures: dict[str, Callable[[Look], float]] = {
        "frames looked at": lambda one: one.result.total_frames,
        "frames decoded": lambda one: one.decoded,
        "seconds": lambda one: one.result.timings["total"],
    }
    for name, figure in figures.items():
        before, after = (sum(figure(pair.looks[way]) for pair in pairs) for way in WAYS)
        table.add(name, float(before), float(after), f"x {after / before:.2f}")
    once = [
        pair.of("adaptive").timings["total"] / pair.of("all").timings["total"] for pair in pairs if not pair.went_dense
    ]
    twice = [
        pair.of("adaptive").timings["total"] / pair.of("all").timings["total"] for pair in pairs if pair.went_dense
    ]
    for name, ratios in (("seconds of those looked at once", once), ("seconds of those looked at again", twice)):
        table.add(name, "", "", f"x {median(ratios):.2f} (median)" if ratios else "")
    return table


def differing(pairs: Sequence[Pair]) -> str:
    changes = Counter(
        (pair.of("all").verdict, pair.of("adaptive").verdict)
        for pair in pairs
        if pair.of("all").verdict != pair.of("adaptive").verdict
    )
    said = ", ".join(f"{number} {before} -> {after}" for (before, after), number in changes.items())
    return f"Verdicts that differ: {said or 'none'}."


def timed(rounds: int) -> tuple[Table, dict[str, list[dict[str, float]]]]:
    """A generated video, decoded in the sandbox."""
    video = Maker(Path("runs/bench-media")).video(720, SECONDS)
    ways = {way: build_pipeline(EngineConfig(adaptive=way == "adaptive")) for way in WAYS}
    timings: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way, pipeline in ways.items():
            result = pipeline.run(video.path)
            if number:  # the first one waits for what is loaded once
                timings[way].append({**result.timings, "frames": result.total_frames})
    table = Table(f"time: {video.name}, medians of {rounds} rounds, seconds", ["stage", *WAYS, "ratio"])
    for stage in timings["all"][0]:
        before, after = (median(one[stage] for one in timings[way]) for way in WAYS)
        table.add(stage, before, after, f"{after / before:.2f}" if before else "")
    return table, timings


def measure(data: Path, only: Sequence[str], rounds: int) -> Iterator[tuple[str, Report]]:
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    splits = {split: [row for row in rows if row["split"] == split] for split in ("val", "train")}
    ways = {way: build_pipeline(EngineConfig(sandbox=None, adaptive=way == "adaptive")) for way in WAYS}
    sections: dict[str, Callable[[], list[Pair]]] = {
        "val": lambda: clips(splits["val"], ways, data),
        "sparse": lambda: sparse(splits["val"], ways, data),
        "train": lambda: clips(splits["train"], ways, data),
        "partial": lambda: partial(splits["val"], ways, data),
    }
    for name, run in sections.items():
        if name in only:
            pairs = run()
            table = detection(pairs) if name == "partial" else accuracy(name, pairs)
            yield name, Report([table], figures={"videos": [pair.figures() for pair in pairs]})
    if "time" in only:
        table, timings = timed(rounds)
        yield "time", Report([table], figures=timings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/clips"))
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    reports: dict[str, Report] = {}
    began = f"adaptive-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for name, report in measure(options.data, options.only, options.rounds):
        reports[name] = report
        print(report.tables[0].markdown(), flush=True)
        text = "\n".join(each.tables[0].markdown() for each in reports.values())
        path = save(Path("runs/bench"), began, text, reports)  # what is there is kept if a later section fails
        print(f"Kept in {path} and {path.with_suffix('.md').name} beside it.")


if __name__ == "__main__":
    main()
