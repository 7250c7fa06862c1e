"""How many clips of each kind get which verdict: ``python -m benchmarks.clip_verdicts [--mode thorough]``.

Runs the engine as it is served over the untouched clips beside the checkout and prints a Markdown table. With
``--mode thorough`` each clip is looked at in both modes, one after the other, and what that changes is said below.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.types import AnalysisResult, Mode, Verdict

Found = list[tuple[str, AnalysisResult]]  # by method


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/clips"))
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument("--mode", type=Mode, default=Mode.STANDARD, choices=list(Mode))
    options = parser.parse_args()
    with (options.data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == options.split]
    pipeline = build_pipeline(EngineConfig())
    pipeline.run(options.data / rows[0]["file"])  # so that none of them waits for what is loaded once
    found: dict[Mode, Found] = {mode: [] for mode in (Mode.STANDARD, options.mode)}
    for row in tqdm(rows, unit="clip"):
        for mode, results in found.items():
            results.append((row["method"], pipeline.run(options.data / row["file"], mode=mode)))
    for mode, results in found.items():
        print(
            f"\n{pipeline.spec.name} {pipeline.spec.version} ({pipeline.spec.sha256[:12]}), {options.split}, {mode}\n"
        )
        _table(results)
    if options.mode is Mode.THOROUGH:
        _compare(found[Mode.STANDARD], found[Mode.THOROUGH])


def _table(found: Found) -> None:
    print("| clips | number | " + " | ".join(Verdict) + " | AUC against real |")
    print("|---|---|" + "---|" * (len(Verdict) + 1))
    methods = sorted({method for method, _ in found}, key=lambda name: (name != "real", name))
    for method in methods:
        verdicts = Counter(result.verdict for name, result in found if name == method)
        auc = "" if method == "real" else f"{_auc(_scores(found, 'real'), _scores(found, method)):.3f}"
        cells = " | ".join(str(verdicts[verdict]) for verdict in Verdict)
        print(f"| {method} | {verdicts.total()} | {cells} | {auc} |")
    fakes = [score for method in methods if method != "real" for score in _scores(found, method)]
    print(f"\nAUC of all: {_auc(_scores(found, 'real'), fakes):.3f}")


def _compare(usual: Found, thorough: Found) -> None:
    pairs = [(before, after) for (_, before), (_, after) in zip(usual, thorough, strict=True)]
    changes = Counter((before.verdict, after.verdict) for before, after in pairs if before.verdict != after.verdict)
    said = ", ".join(f"{number} {before} -> {after}" for (before, after), number in changes.items()) or "none"
    print(f"Verdicts that changed: {said}.")
    for name, results in (("standard", [before for before, _ in pairs]), ("thorough", [after for _, after in pairs])):
        seconds, frames = ([r.timings["total"] for r in results], [r.total_frames for r in results])
        print(f"{name}: {median(frames):.0f} frames and {median(seconds):.2f} s a clip (medians)")
    ratio = median(after.timings["total"] / before.timings["total"] for before, after in pairs)
    print(f"thorough takes {ratio:.1f} times as long (median of pairs)")


def _scores(found: Found, method: str) -> list[float]:
    return [result.score for name, result in found if name == method and result.score is not None]


def _auc(reals: list[float], fakes: list[float]) -> float:
    return float(roc_auc_score([0] * len(reals) + [1] * len(fakes), np.concatenate([reals, fakes])))


if __name__ == "__main__":
    main()
