"""How many clips of each kind get which verdict: ``python -m benchmarks.clip_verdicts [--split val]``.

Runs the engine as it is served over the untouched clips beside the checkout and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.types import Verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/clips"))
    parser.add_argument("--split", default="val", choices=["train", "val"])
    options = parser.parse_args()
    with (options.data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == options.split]
    pipeline = build_pipeline(EngineConfig())
    verdicts: dict[str, Counter[Verdict]] = {}
    scores: dict[str, list[float]] = {}
    for row in tqdm(rows, unit="clip"):
        result = pipeline.run(options.data / row["file"])
        verdicts.setdefault(row["method"], Counter())[result.verdict] += 1
        if result.score is not None:
            scores.setdefault(row["method"], []).append(result.score)
    print(f"{pipeline.spec.name} {pipeline.spec.version} ({pipeline.spec.sha256[:12]}), {options.split} clips\n")
    print("| clips | number | " + " | ".join(Verdict) + " | AUC against real |")
    print("|---|---|" + "---|" * (len(Verdict) + 1))
    for method in sorted(verdicts, key=lambda name: (name != "real", name)):
        counts = verdicts[method]
        auc = "" if method == "real" else f"{_auc(scores['real'], scores[method]):.3f}"
        cells = " | ".join(str(counts[verdict]) for verdict in Verdict)
        print(f"| {method} | {counts.total()} | {cells} | {auc} |")


def _auc(reals: list[float], fakes: list[float]) -> float:
    return float(roc_auc_score([0] * len(reals) + [1] * len(fakes), np.concatenate([reals, fakes])))


if __name__ == "__main__":
    main()
