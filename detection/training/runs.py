"""What lies in the folder of a run, and how several runs become one network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detection.engine.networks import ensemble
from detection.training import calibrate
from detection.training.datasets import Sample, read_manifests
from detection.training.evaluate import Scores
from detection.training.singles import serving_crops
from detection.training.train import NOTE_FILE, WEIGHTS_FILE, Config, build, read_noted

BATCH = 64
MEMBERS_FILE = "ensemble.json"


class Network:
    """A network as training built it: uint8 crops (n, size, size, 3) to logits, float32 (n,)."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)]
        logits = [np.asarray(self.model(part, training=False)["logit"])[:, 0] for part in parts]
        return np.concatenate(logits).astype(np.float32)


def load(folder: Path) -> Any:
    """The ``keras.Model`` that a run, an average or an ensemble left in ``folder``."""
    note = folder / MEMBERS_FILE
    if note.exists():
        members = json.loads(note.read_text(encoding="utf-8"))["members"]
        return ensemble.build(
            [load(Path(member["run"])) for member in members],
            [(member["slope"], member["intercept"]) for member in members],
        )
    model = build(read_noted(folder))
    model.load_weights(folder / WEIGHTS_FILE)
    return model


def members_of(folder: Path) -> list[Path]:
    """The runs of the ensemble in ``folder``; the folder itself if it holds a single network."""
    note = folder / MEMBERS_FILE
    if not note.exists():
        return [folder]
    return [Path(member["run"]) for member in json.loads(note.read_text(encoding="utf-8"))["members"]]


def ancestors(config: Config) -> Iterator[Config]:
    """The settings of every run that a run builds on, through starts and averages, back to the first."""
    if config.start is not None:
        yield from _lineage(config.start.parent)


def _lineage(folder: Path) -> Iterator[Config]:
    config = read_noted(folder)
    yield config
    for run in json.loads((folder / NOTE_FILE).read_text(encoding="utf-8")).get("averaged", ()):
        yield from _lineage(Path(run))
    yield from ancestors(config)


def score_network(network: Network, samples: Sequence[Sample], config: Config) -> Scores:
    """Score faces with the serving geometry and without augmentation, as the exported file would."""
    logits = []
    for start in tqdm(range(0, len(samples), BATCH), unit="batch", desc="scoring", leave=False, disable=None):
        part = samples[start : start + BATCH]
        crops = np.stack(list(serving_crops(part, config.crop_margin, config.input_size)))
        logits.append(network(crops))
    return Scores(tuple(samples), np.concatenate(logits))


def average(runs: Sequence[Path], output: Path) -> Path:
    """Average the weights of runs that started from one network; returns the file.

    Wortsman et al., "Model soups", arXiv 2203.05482: such an average is as good as the ensemble of the runs, for the
    price of one, where they have not left the basin that they started in.
    """
    mean, *others = [load(run) for run in runs]
    weights = [mean.get_weights(), *(model.get_weights() for model in others)]
    mean.set_weights([np.mean(arrays, axis=0) for arrays in zip(*weights, strict=True)])
    _note(runs, output, averaged=[str(run) for run in runs])
    mean.save_weights(output / WEIGHTS_FILE)
    return output / WEIGHTS_FILE


def combine(runs: Sequence[Path], output: Path) -> Path:
    """Make an ensemble of runs of different recipes, each calibrated on the calibration identities; returns its note.

    Raises:
        ValueError: the runs cut faces by different margins, so that they cannot share a crop.
    """
    configs = [read_noted(run) for run in runs]
    if len({config.crop_margin for config in configs}) != 1:
        raise ValueError("the members of an ensemble must share crop_margin")
    samples = [s for s in read_manifests(_leading(configs).manifests) if s.split == "calibration"]
    members = []
    for run, config in zip(runs, configs, strict=True):
        fitted = calibrate.fit(score_network(Network(load(run)), samples, config))
        members.append({"run": str(run), **fitted._asdict()})
    return write_ensemble(members, output)


def write_ensemble(members: Sequence[dict[str, Any]], output: Path) -> Path:
    """Note an ensemble of ``members``, each with its ``run``, ``slope`` and ``intercept``; returns the note."""
    _note([Path(member["run"]) for member in members], output)
    note = output / MEMBERS_FILE
    note.write_text(json.dumps({"members": members}, indent=2), encoding="utf-8")
    return note


def _note(runs: Sequence[Path], output: Path, **facts: Any) -> None:
    output.mkdir(parents=True, exist_ok=True)
    settings = replace(_leading([read_noted(run) for run in runs]), output=output)
    note = {**asdict(settings), **facts}
    (output / NOTE_FILE).write_text(json.dumps(note, indent=2, default=str), encoding="utf-8")


def _leading(configs: Sequence[Config]) -> Config:
    """Whose settings stand for all: the run that takes the largest crops, the first of several."""
    return max(configs, key=lambda config: config.input_size)
