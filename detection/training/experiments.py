"""Runs that are compared with each other: seeds, leave-one-out, ablations.

Every run is trained, scored on ``val`` and noted in one JSON file, ``{"rows": [...]}``, which the model card reads.
An interrupted experiment goes on where it stopped: a run that is noted already is not repeated.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detection.engine.networks import mobilenetv2
from detection.engine.preprocessing import crop_box, extract
from detection.training.datasets import Sample, read_manifests
from detection.training.evaluate import Scores, auc_by_origin
from detection.training.train import Config, read_noted, train, training_samples

BATCH = 64


def describe(config: Config) -> dict[str, Any]:
    """What a run is made of, for the model card: size of the network, settings, faces by source."""
    network = mobilenetv2.build(config.input_size, residual=config.residual)
    paths = ("manifests", "output", "pretrained", "start", "meshes", "real_weights", "fake_weights", "kinds")
    recipe = {key: value for key, value in asdict(config).items() if key not in paths}
    faces = Counter(sample.origin for sample in training_samples(config))
    return {"parameters": network.count_params(), "recipe": recipe, "faces": dict(sorted(faces.items()))}


class Network:
    """A trained network as training built it: uint8 crops (n, size, size, 3) to logits, float32 (n,)."""

    def __init__(self, config: Config, weights: Path | None = None) -> None:
        self._model = mobilenetv2.build(config.input_size, residual=config.residual)
        self._model.load_weights(weights or config.output / "final.weights.h5")

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)]
        logits = [np.asarray(self._model(part, training=False)["logit"])[:, 0] for part in parts]
        return np.concatenate(logits).astype(np.float32)


def score_network(network: Network, samples: Sequence[Sample], config: Config) -> Scores:
    """Score faces with the serving geometry and without augmentation, as the exported file would."""
    logits = []
    for start in tqdm(range(0, len(samples), BATCH), unit="batch", desc="scoring", leave=False, disable=None):
        part = samples[start : start + BATCH]
        crops = [extract(s.load(), crop_box(s.landmarks, config.crop_margin), config.input_size) for s in part]
        logits.append(network(np.stack(crops)))
    return Scores(tuple(samples), np.concatenate(logits))


def average(runs: Sequence[Path], config: Config, output: Path) -> Path:
    """Average the weights of runs that started from one network, into ``output/final.weights.h5``.

    Wortsman et al., "Model soups", arXiv 2203.05482: such an average is as good as the ensemble of the runs, for the
    price of one, where they have not left the basin that they started in.
    """
    models = [mobilenetv2.build(config.input_size, residual=config.residual) for _ in runs]
    for model, run in zip(models, runs, strict=True):
        model.load_weights(run / "final.weights.h5")
    mean = models[0]
    mean.set_weights([np.mean(weights, axis=0) for weights in zip(*(m.get_weights() for m in models), strict=True)])
    output.mkdir(parents=True, exist_ok=True)
    weights = output / "final.weights.h5"
    mean.save_weights(weights)
    note = {**asdict(replace(config, output=output)), "averaged": runs}
    (output / "config.json").write_text(json.dumps(note, indent=2, default=str), encoding="utf-8")
    return weights


def run(config: Config, results: Path, **facts: Any) -> dict[str, Any]:
    """Train ``config`` and note its figures under ``facts``, unless ``results`` has a row of these facts already.

    Returns the row: ``facts``, the number of steps and ``figures``, the AUC per manipulation on ``val``.
    """
    known = [row for row in _rows(results) if facts.items() <= row.items()]
    if known:
        return known[0]
    if not (config.output / "final.weights.h5").exists():
        train(config)
    row = {**facts, **measure(config)}
    if facts.keys() == {"left_out"}:
        row |= row["intervals"][facts["left_out"]]
    # Read again: another run may have finished meanwhile.
    results.write_text(json.dumps({"rows": [*_rows(results), row]}, indent=2), encoding="utf-8")
    return row


def _rows(results: Path) -> list[dict[str, Any]]:
    return list(json.loads(results.read_text(encoding="utf-8"))["rows"]) if results.exists() else []


def measure(config: Config) -> dict[str, Any]:
    """AUC of one run per manipulation on ``val``."""
    samples = [s for s in read_manifests(config.manifests) if s.split == "val"]
    rows = auc_by_origin(score_network(Network(config), samples, config))
    return {
        "steps": config.steps_per_epoch * config.epochs,
        "figures": {row["origin"]: row["auc"] for row in rows},
        "intervals": {
            row["origin"]: {
                "real": row["real"],
                "fake": row["fake"],
                "auc": {"value": row["auc"], "low": row["low"], "high": row["high"]},
            }
            for row in rows
        },
    }


def seeds(config: Config, numbers: Sequence[int], results: Path) -> list[dict[str, Any]]:
    """The same configuration from several seeds."""
    runs = [replace(config, seed=seed, output=config.output / f"seed-{seed}") for seed in numbers]
    return [run(one, results, seed=one.seed) for one in runs]


def leave_one_out(config: Config, origins: Sequence[str], results: Path) -> list[dict[str, Any]]:
    """Train without one manipulation and test on it, one after the other.

    Raises:
        ValueError: the network that ``config`` starts from is not known to have been trained without ``origins``.
    """
    if config.start is not None:
        before = read_noted(config.start.parent / "config.json")
        if not set(origins) <= set(before.leave_out):
            raise ValueError(f"{config.start} has seen some of {', '.join(origins)}")
    runs = [replace(config, leave_out=(origin,), output=config.output / f"without-{origin}") for origin in origins]
    return [run(one, results, left_out=one.leave_out[0]) for one in runs]


def held_out(config: Config, results: Path) -> list[dict[str, Any]]:
    """Note how well a finished run finds each manipulation that it was trained without, all of them at once."""
    intervals = measure(config)["intervals"]
    others = f"all {len(config.leave_out)} of {config.leave_out[0].split('-')[0]} left out"
    new = [{"left_out": f"{origin}, {others}", **intervals[origin]} for origin in config.leave_out]
    kept = [row for row in _rows(results) if row["left_out"] not in {one["left_out"] for one in new}]
    results.write_text(json.dumps({"rows": [*kept, *new]}, indent=2), encoding="utf-8")
    return new
