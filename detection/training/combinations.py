"""What combining some networks would be worth, for every choice among them, before ``combine`` makes one.

Choose by the people kept for calibration; what the other split says then is still about people nobody chose by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.training import calibrate, metrics, runs, tables
from detection.training.datasets import Sample, read_manifests
from detection.training.evaluate import Scores, by_video
from detection.training.scoring import beside_reals
from detection.training.train import read_noted

CHOSEN_BY = "calibration"
HINT, ALARM = 0.05, 0.01  # shares of the reals that the operating points of a release let pass as well

Logits = NDArray[np.float64]


class Mirrored(runs.Network):
    """A network that is shown every face mirrored."""

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return super().__call__(np.ascontiguousarray(crops[:, :, ::-1]))


@dataclass(frozen=True, slots=True)
class Files:
    """Videos and stills of one split, in the order of all logits."""

    labels: NDArray[np.int64]
    origins: NDArray[np.str_]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Files:
        videos = by_video(Scores(tuple(samples), np.zeros(len(samples), np.float32))).samples
        return cls(np.array([s.label for s in videos]), np.array([s.origin for s in videos], np.str_))

    def areas(self, logits: Logits) -> dict[str, float]:
        """AUC by manipulation, beside the reals of its own source."""
        masks = beside_reals(self.labels, self.origins)
        return {origin: _auc(self.labels[mask], logits[mask]) for origin, mask in masks.items()}

    def found(self, logits: Logits) -> float:
        """Share of the manipulated files found where 1 % of the real ones are taken for it."""
        return float(metrics.detection_rate(ALARM)(self.labels, logits, metrics.ones(len(logits)))[0])

    def agreement_tells(self, one: Logits, other: Logits) -> float:
        """Among files that both together find suspicious: AUC of how little they disagree, for who is right.

        At 0.5 disagreement says nothing about an error; only above would it be a reason to say *inconclusive*.
        """
        both = (one + other) / 2
        reported = both > np.quantile(both[self.labels == 0], 1 - HINT)
        return _auc(self.labels[reported], -np.abs(one - other)[reported])


def _auc(labels: NDArray[np.int64], values: Logits) -> float:
    return float(metrics.auc(labels, values, metrics.ones(len(values)))[0])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Networks on the same files: per network and split its calibrated logits, one for each video."""

    files: Mapping[str, Files]
    logits: Mapping[str, Mapping[str, Logits]]

    def markdown(self) -> str:
        """Two tables: every combination's figures, and what each two say by disagreeing."""
        measured = next(split for split in self.files if split != CHOSEN_BY)
        files, first = self.files[measured], next(iter(self.logits.values()))
        head = ("networks", f"mean AUC, {CHOSEN_BY}", f"mean AUC, {measured}", f"found at {ALARM:.0%}")
        choices = tables.grid((*head, *files.areas(first[measured])), self._choices(measured))
        if len(self.logits) == 1:
            return choices
        pairs = combinations(self.logits.items(), 2)
        rows = (
            (
                f"{one}, {other}",
                _three(np.corrcoef(a[measured], b[measured])[0, 1]),
                _three(files.agreement_tells(a[measured], b[measured])),
            )
            for (one, a), (other, b) in pairs
        )
        return choices + "\n\n" + tables.grid(("two", "correlation", "agreement for being right, AUC"), rows)

    def _choices(self, measured: str) -> Iterator[tuple[str, ...]]:
        for number in range(1, len(self.logits) + 1):
            for chosen in combinations(self.logits, number):
                means = {split: np.mean([self.logits[name][split] for name in chosen], axis=0) for split in self.files}
                areas = {split: self.files[split].areas(means[split]) for split in self.files}
                figures = (
                    *(float(np.mean(list(areas[split].values()))) for split in (CHOSEN_BY, measured)),
                    self.files[measured].found(means[measured]),
                    *areas[measured].values(),
                )
                yield ", ".join(chosen), *map(_three, figures)


def _three(value: float) -> str:
    return f"{value:.3f}"


def compare(
    folders: Sequence[Path], manifests: Sequence[Path], *, split: str = "val", mirrored: bool = False
) -> Comparison:
    """Score the files of ``split`` with every run, each calibrated on the calibration people.

    Args:
        folders: of the runs.
        manifests: of face crops.
        split: what the figures are about.
        mirrored: take each run a second time, which sees faces mirrored.

    Raises:
        ValueError: one of both splits has no real or no manipulated files, or it is the one that is chosen by.
    """
    if split == CHOSEN_BY:
        raise ValueError(f"what is chosen by {CHOSEN_BY} cannot be measured on it")
    samples = read_manifests(manifests)
    parts = {name: [s for s in samples if s.split == name] for name in (CHOSEN_BY, split)}
    for name, part in parts.items():
        if {s.label for s in part} != {0, 1}:
            raise ValueError(f"the split {name} needs real and manipulated faces")
    logits = {}
    for folder in folders:
        model = runs.load(folder)
        networks = {str(folder): runs.Network(model)}
        if mirrored:
            networks[f"{folder} mirrored"] = Mirrored(model)
        for name, network in networks.items():
            logits[name] = _calibrated(network, parts, folder)
    return Comparison({name: Files.of(part) for name, part in parts.items()}, logits)


def _calibrated(network: runs.Network, parts: Mapping[str, Sequence[Sample]], folder: Path) -> dict[str, Logits]:
    config = read_noted(folder)
    scores = {name: runs.score_network(network, part, config) for name, part in parts.items()}
    fitted = calibrate.fit(scores[CHOSEN_BY])
    return {name: fitted.slope * by_video(one).logits.astype(float) + fitted.intercept for name, one in scores.items()}
