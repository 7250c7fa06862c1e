"""Turn logits into probabilities, and probabilities into an operating point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t
from sklearn.linear_model import LogisticRegression

from detection.training.evaluate import Scores


class Calibration(NamedTuple):
    """``score = sigmoid(slope * logit + intercept)`` (Platt 1999), for equal shares of both classes."""

    slope: float
    intercept: float

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-(self.slope * logits.astype(float) + self.intercept))))


def fit(scores: Scores) -> Calibration:
    """Fit on files that training did not see. Every origin counts the same within its class.

    Targets are Platt's own, (n + 1) / (n + 2) and 1 / (n + 2) instead of 1 and 0: where few files happen to be
    separated without a mistake, the slope must not run away.
    """
    labels = np.array([s.label for s in scores.samples])
    origins = np.array([s.origin for s in scores.samples])
    weights = np.zeros(len(labels))
    for label in (0, 1):
        names = sorted(set(origins[labels == label]))
        for name in names:
            weights[origins == name] = 1 / (len(names) * (origins == name).sum())
    likely = np.where(labels == 1, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((labels == 0).sum() + 2))
    twice = np.concatenate([scores.logits, scores.logits])[:, None]
    shares = np.concatenate([weights * likely, weights * (1 - likely)]) * len(labels)
    model = LogisticRegression(C=1e6).fit(twice, np.repeat([1, 0], len(labels)), shares)
    return Calibration(float(model.coef_[0, 0]), float(model.intercept_[0]))


def threshold_for(reals: NDArray[np.float64], false_alarms: float) -> float:
    """The lowest threshold that at most the share ``false_alarms`` of real scores reaches."""
    allowed = int(np.floor(false_alarms * len(reals)))
    ordered = np.sort(reals)[::-1]
    return float(np.nextafter(ordered[allowed], 1.0))


def prediction_limit(reals: NDArray[np.float32], clusters: Sequence[str], rate: float) -> float:
    """The logit that one more real video reaches with probability ``rate``, if logits are normally distributed.

    A quantile of a dozen videos does not exist; the one-sided prediction limit (Hahn and Meeker, "Statistical
    Intervals", 1991, section 4.7) pays for the small number with Student's t. ``clusters`` names each video's
    person: degrees of freedom count people, not videos.
    """
    people = len(set(clusters))
    if people < 3:
        raise ValueError(f"videos of {people} people say nothing about the spread of others")
    spread = float(np.std(reals, ddof=1)) * np.sqrt(1 + 1 / people)
    return float(np.mean(reals) + t.ppf(1 - rate, people - 1) * spread)
