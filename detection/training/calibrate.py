"""Turn logits into probabilities, and probabilities into an operating point."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from detection.training.evaluate import Scores


class Calibration(NamedTuple):
    """``score = sigmoid(slope * logit + intercept)`` (Platt 1999), for equal shares of both classes."""

    slope: float
    intercept: float

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-(self.slope * logits.astype(float) + self.intercept))))


def fit(scores: Scores) -> Calibration:
    """Fit on pictures that training did not see. Every origin counts the same within its class."""
    labels = np.array([s.label for s in scores.samples])
    origins = np.array([s.origin for s in scores.samples])
    weights = np.zeros(len(labels))
    for label in (0, 1):
        names = sorted(set(origins[labels == label]))
        for name in names:
            weights[origins == name] = 1 / (len(names) * (origins == name).sum())
    model = LogisticRegression(C=1e6).fit(scores.logits[:, None], labels, weights * len(labels))
    return Calibration(float(model.coef_[0, 0]), float(model.intercept_[0]))


def threshold_for(reals: NDArray[np.float64], false_alarms: float) -> float:
    """The lowest threshold that at most the share ``false_alarms`` of real scores reaches."""
    allowed = int(np.floor(false_alarms * len(reals)))
    ordered = np.sort(reals)[::-1]
    return float(np.nextafter(ordered[allowed], 1.0))


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound of a rate (Biometrika 26, 1934)."""
    return 1.0 if hits >= trials else float(beta.ppf(confidence, hits + 1, trials - hits))


def expected_calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """ECE over ten bins of equal mass."""
    order = np.argsort(probabilities)
    error = 0.0
    for part in np.array_split(order, 10):
        error += len(part) / len(order) * abs(probabilities[part].mean() - labels[part].mean())
    return float(error)
