"""What it costs to decode less: ``python -m benchmarks.decode_budget [--seconds 30] [--budget 480]``.

The clips beside the checkout are short and decoded from end to end. Here each is encoded anew with as many keyframes as
a video of ``--seconds`` has, one every 250 frames, and judged twice: on evenly spread frames, and with the share of its
frames that the budget leaves of that video: frames close behind the keyframes. Prints AUC with a 95 % interval of its
difference (bootstrap over the clips), changed verdicts, and the largest change of a score.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import av
import numpy as np
from av.video.frame import PictureType
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from detection.engine import sampling
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.pipeline import Pipeline
from detection.engine.types import AnalysisResult

RATE = 25  # frames a second of the longer video
KEYFRAMES = 250  # frames from one to the next: x264's default
DRAWS = 2000


def encoded(path: Path, folder: Path, keyframes: int) -> Path:
    """A copy with so many keyframes, evenly spread, at a quality that hardly changes it."""
    target = folder / path.name
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        video = source.streams.video[0]
        every = str(math.ceil(video.frames / keyframes))
        options = {"preset": "veryfast", "crf": "16", "g": every, "keyint_min": every, "sc_threshold": "0"}
        stream = output.add_stream("libx264", rate=video.average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for number, frame in enumerate(source.decode(video)):
            frame.pts, frame.time_base = number, 1 / Fraction(video.average_rate)
            frame.pict_type = PictureType.NONE  # or the encoder would put keyframes where they were
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return target


def judge(pipeline: Pipeline, path: Path, budget: int) -> AnalysisResult:
    with patch.object(sampling, "DECODE_BUDGET", budget):
        return pipeline.run(path)


def times(result: AnalysisResult) -> set[float]:
    return {score.time for track in result.tracks for score in track.scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/clips"))
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--budget", type=int, default=sampling.DECODE_BUDGET, help="frames decoded of such a video")
    options = parser.parse_args()
    with (options.data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == options.split]
    pipeline = build_pipeline(
        EngineConfig(sandbox=None, adaptive=False)
    )  # decoded in this process, where the budget can be changed
    frames = RATE * options.seconds
    share = min(1.0, options.budget / frames)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for row in tqdm(rows, unit="clip"):
            path = encoded(options.data / row["file"], Path(folder), math.ceil(frames / KEYFRAMES))
            whole = judge(pipeline, path, sampling.SPARSE_BUDGET)
            pairs.append((whole, judge(pipeline, path, round(share * (whole.media.frame_count or 0)))))
    fake = np.array([row["method"] != "real" for row in rows])
    report(fake, pairs, share)


def report(fake: np.ndarray, pairs: list[tuple[AnalysisResult, AnalysisResult]], share: float) -> None:
    scores = np.array([[np.nan if one.score is None else one.score for one in pair] for pair in pairs])
    judged = ~np.isnan(scores).any(axis=1)
    scores, fake = scores[judged], fake[judged]
    whole, part = (roc_auc_score(fake, column) for column in scores.T)
    chance = np.random.default_rng(0)
    differences = []
    for _ in range(DRAWS):
        drawn = chance.integers(0, len(fake), len(fake))
        if fake[drawn].any() and not fake[drawn].all():
            before, after = (roc_auc_score(fake[drawn], column) for column in scores[drawn].T)
            differences.append(after - before)
    low, high = np.percentile(differences, [2.5, 97.5])
    changed = sum(before.verdict is not after.verdict for before, after in pairs)
    other = sum(times(before) != times(after) for before, after in pairs)
    print(f"{len(pairs)} clips, {len(fake)} with a score; {share:.0%} of the frames decoded, other frames in {other}")
    print(f"AUC {whole:.4f} -> {part:.4f} (difference {part - whole:+.4f}, 95 % {low:+.4f} to {high:+.4f})")
    print(f"{changed} verdicts changed; scores by at most {np.abs(scores[:, 1] - scores[:, 0]).max():.3f}")


if __name__ == "__main__":
    main()
