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

from detection.training import runs
from detection.training.datasets import read_manifests
from detection.training.evaluate import auc_by_origin
from detection.training.train import WEIGHTS_FILE, Config, read_noted, train, training_samples


def describe(folder: Path) -> dict[str, Any]:
    """What a network is made of, for the model card: its size, its settings, faces by source.

    Where the members of an ensemble differ in a setting, the values of all are told, in order.
    """
    members = runs.members_of(folder)
    configs = [read_noted(member) for member in members]
    paths = ("manifests", "output", "pretrained", "start", "meshes", "real_weights", "fake_weights", "kinds")
    settings = [asdict(config) for config in configs]
    recipe = {key: _common([one[key] for one in settings]) for key in settings[0] if key not in paths}
    faces = Counter(sample.origin for sample in training_samples(configs[0]))
    return {
        "parameters": sum(runs.load(member).count_params() for member in members),
        "networks": len(configs),
        "recipe": recipe,
        "faces": dict(sorted(faces.items())),
    }


def _common(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else " / ".join(map(str, values))


def run(config: Config, results: Path, **facts: Any) -> dict[str, Any]:
    """Train ``config`` and note its figures under ``facts``, unless ``results`` has a row of these facts already.

    A run that lies in ``config.output``, an average or an ensemble, is measured and not trained again.

    Returns the row: ``facts``, the number of steps and ``figures``, the AUC per manipulation on ``val``.
    """
    known = [row for row in _rows(results) if facts.items() <= row.items()]
    if known:
        return known[0]
    if not any((config.output / file).exists() for file in (WEIGHTS_FILE, runs.MEMBERS_FILE)):
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
    network = runs.Network(runs.load(config.output))
    rows = auc_by_origin(runs.score_network(network, samples, config))
    trained = (config.output / WEIGHTS_FILE).exists()  # an ensemble is not
    return {
        **({"steps": config.steps_per_epoch * config.epochs} if trained else {}),
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
    variants = [replace(config, seed=seed, output=config.output / f"seed-{seed}") for seed in numbers]
    return [run(one, results, seed=one.seed) for one in variants]


def leave_one_out(config: Config, origins: Sequence[str], results: Path) -> list[dict[str, Any]]:
    """Train without one manipulation and test on it, one after the other.

    Raises:
        ValueError: the network that ``config`` starts from is not known to have been trained without ``origins``.
    """
    _check_unseen(config, origins)
    variants = [replace(config, leave_out=(origin,), output=config.output / f"without-{origin}") for origin in origins]
    return [run(one, results, left_out=one.leave_out[0]) for one in variants]


def _check_unseen(config: Config, origins: Sequence[str]) -> None:
    """What one of the networks that a run builds on has seen is not forgotten."""
    for earlier in runs.ancestors(config):
        if not set(origins) <= set(earlier.leave_out):
            raise ValueError(f"{earlier.output} has seen some of {', '.join(origins)}")


def held_out(config: Config, results: Path) -> list[dict[str, Any]]:
    """Note how well a finished run finds each manipulation that it was trained without, all of them at once.

    Raises:
        ValueError: the network that ``config`` started from has seen some of them.
    """
    _check_unseen(config, config.leave_out)
    intervals = measure(config)["intervals"]
    others = f"all {len(config.leave_out)} of {config.leave_out[0].split('-')[0]} left out"
    new = [{"left_out": f"{origin}, {others}", **intervals[origin]} for origin in config.leave_out]
    kept = [row for row in _rows(results) if row["left_out"] not in {one["left_out"] for one in new}]
    results.write_text(json.dumps({"rows": [*kept, *new]}, indent=2), encoding="utf-8")
    return new
