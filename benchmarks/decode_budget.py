"""What it costs to decode less: ``python -m benchmarks.decode_budget [--seconds 30] [--split val]``.

The clips beside the checkout are short and decoded from end to end. Here each is also judged with that share of its
frames which the budget leaves of a video of ``--seconds``: 32 frames close behind the keyframes instead of evenly
spread ones. Both ways in turn for each clip; prints AUC with a 95 % interval of its difference (bootstrap over the
clips), changed verdicts, and the largest change of a score.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from unittest.mock import patch

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from detection.engine import sampling
from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.pipeline import Pipeline
from detection.engine.types import AnalysisResult

RATE = 25  # frames a second of the longer video
DRAWS = 2000


def judge(pipeline: Pipeline, path: Path, budget: int) -> AnalysisResult:
    with patch.object(sampling, "DECODE_BUDGET", budget):
        return pipeline.run(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/clips"))
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with (options.data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == options.split]
    pipeline = build_pipeline(EngineConfig(sandbox=None))  # decoded in this process, where the budget can be changed
    share = min(1.0, sampling.DECODE_BUDGET / (RATE * options.seconds))
    pairs = []
    for row in tqdm(rows, unit="clip"):
        path = options.data / row["file"]
        whole = judge(pipeline, path, sampling.DECODE_BUDGET)
        part = judge(pipeline, path, round(share * (whole.media.frame_count or sampling.DECODE_BUDGET)))
        pairs.append((whole, part))
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
    print(f"{len(pairs)} clips, {len(fake)} with a score; {share:.0%} of the frames decoded instead of all")
    print(f"AUC {whole:.4f} -> {part:.4f} (difference {part - whole:+.4f}, 95 % {low:+.4f} to {high:+.4f})")
    print(f"{changed} verdicts changed; scores by at most {np.abs(scores[:, 1] - scores[:, 0]).max():.3f}")


if __name__ == "__main__":
    main()
