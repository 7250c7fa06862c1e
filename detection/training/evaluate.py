"""Measure a shipped file, not a training graph: every figure comes from the ``.tflite`` that serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from detection.engine.classifier import Classifier
from detection.engine.preprocessing import crop_box, extract
from detection.training.datasets import Sample


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits of ``samples``, in the same order, float32 (n,)."""

    samples: tuple[Sample, ...]
    logits: NDArray[np.float32]


def score(samples: Sequence[Sample], classifier: Classifier, *, margin: float, size: int) -> Scores:
    """Score every face crop with the serving geometry and without any augmentation."""
    logits = []
    for sample in tqdm(samples, unit="face", desc="scoring", leave=False):
        crop = extract(sample.load(), crop_box(sample.landmarks, margin), size)
        logits.append(classifier.predict(crop[None]).logits[0])
    return Scores(tuple(samples), np.array(logits, np.float32))


def by_video(scores: Scores) -> Scores:
    """Average the logits of each video's frames; a still image is a video of one frame."""
    members: dict[str, list[int]] = {}
    for i, sample in enumerate(scores.samples):
        members.setdefault(sample.video, []).append(i)
    firsts = tuple(scores.samples[indices[0]] for indices in members.values())
    return Scores(firsts, np.array([scores.logits[i].mean() for i in members.values()], np.float32))


# Which reals a manipulation is compared with: its own source where there is one, and stills of comparable
# origin for pictures that were generated whole.
REALS = {
    "ffpp": ("ffpp-real",),
    "ciplab": ("ciplab-real",),
    "openforensics": ("openforensics-real",),
    "lfw": ("lfw-real",),
    "ecuador": ("ecuador-real",),
    "sdfd": ("ffhq-real", "amfd-real"),
    "stylegan": ("ffhq-real", "amfd-real"),
}


def auc_by_origin(scores: Scores) -> list[dict[str, Any]]:
    """One row a manipulation: AUC over videos with a 95 % bootstrap interval, and the numbers behind it."""
    videos = by_video(scores)
    origins = np.array([s.origin for s in videos.samples])
    rows = []
    for origin in sorted({s.origin for s in videos.samples if s.label == 1}):
        dataset = origin.split("-")[0]
        reals = videos.logits[np.isin(origins, REALS[dataset])]
        fakes = videos.logits[origins == origin]
        if len(reals) and len(fakes):
            rows.append({"origin": origin, **_auc(reals, fakes)})
    ffpp = [o for o in set(origins) if o.startswith("ffpp-") and o != "ffpp-real"]
    if ffpp:
        pooled = _auc(videos.logits[origins == "ffpp-real"], videos.logits[np.isin(origins, ffpp)])
        rows.append({"origin": "ffpp (all four)", **pooled})
    return rows


def _auc(reals: NDArray[np.float32], fakes: NDArray[np.float32], draws: int = 1000) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def area(r: NDArray[np.float32], f: NDArray[np.float32]) -> float:
        return float(roc_auc_score([0] * len(r) + [1] * len(f), np.concatenate([r, f])))

    resampled = [area(rng.choice(reals, len(reals)), rng.choice(fakes, len(fakes))) for _ in range(draws)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {
        "real": len(reals),
        "fake": len(fakes),
        "auc": round(area(reals, fakes), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }


def table(rows: Iterable[dict[str, Any]]) -> str:
    """The rows of :func:`auc_by_origin` as Markdown."""
    lines = ["| manipulation | real | fake | AUC | 95 % interval |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['origin']} | {r['real']} | {r['fake']} | {r['auc']:.3f} | {r['low']:.3f} to {r['high']:.3f} |"
        for r in rows
    ]
    return "\n".join(lines)
