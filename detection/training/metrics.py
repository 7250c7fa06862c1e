"""Figures of merit for scored, labelled files, with intervals that respect who belongs together.

Throughout, ``labels`` are 0 (real) or 1 (manipulated), ``scores`` grow with the suspicion of manipulation and
have one entry a file (or a face), and ``weights`` have shape ``(draws, n)``: how often each file occurs in each
resample. A plain estimate is the case of one draw with weights 1. Written for many draws at once, because the
bootstrap calls everything 2,000 times; the tests hold every figure against scikit-learn's.

A draw in which one class does not occur gives NaN and is left out of the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Statistic = Callable[[Array], Array]  # weights (draws, n) -> (draws,)

DRAWS = 2000
BINS = 10
_CHUNK = 250  # draws at a time: bounds the memory at some 30 MB for 2,000 files


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Rounded for a report; what cannot be computed is ``None``, which JSON knows and NaN is not."""
        return {key: None if np.isnan(v) else round(float(v), 4) for key, v in self._asdict().items()}


def ones(n: int) -> Array:
    """Weights of the plain estimate."""
    return np.ones((1, n))


def cluster_weights(clusters: Sequence[str], *, draws: int = DRAWS, seed: int = 0) -> Array:
    """Bootstrap weights ``(draws, n)``: whole clusters (identities, source videos) are drawn with replacement.

    Files of one person are not independent; resampling them one by one would give intervals that are too narrow.
    """
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return counts[:, member].astype(float)


def estimate(statistic: Statistic, weights: Array) -> Estimate:
    """The plain value of ``statistic`` and the percentile interval over the draws in ``weights``."""
    value = float(statistic(ones(weights.shape[1]))[0])
    drawn = np.concatenate([statistic(weights[i : i + _CHUNK]) for i in range(0, len(weights), _CHUNK)])
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def proportion(hits: int, trials: int, confidence: float = 0.95) -> Estimate:
    """A share with Clopper and Pearson's exact two-sided interval (Biometrika 26, 1934)."""
    if not trials:
        return Estimate(*[float("nan")] * 3)
    interval = binomtest(hits, trials).proportion_ci(confidence, method="exact")
    return Estimate(hits / trials, float(interval.low), float(interval.high))


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's exact one-sided upper bound of a share; 1 when nothing was tried."""
    if not trials:
        return 1.0
    return float(binomtest(hits, trials, alternative="less").proportion_ci(confidence, method="exact").high)


def _roc(labels: Labels, scores: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted counts ``(false, true positives)``, each ``(draws, k + 1)``, from the highest threshold down."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # equal scores fall together
    positive = labels[order] == 1
    drawn = weights[:, order]
    counts = []
    for chosen in (~positive, positive):
        passed = np.cumsum(drawn * chosen, axis=1)[:, ends]
        counts.append(np.concatenate([np.zeros((len(weights), 1)), passed], axis=1))
    return counts[0], counts[1]


def _share(part: Array, whole: Array) -> Array:
    """``part / whole``, NaN where there is nothing to share."""
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan), where=whole > 0)


def auc(labels: Labels, scores: Array, weights: Array) -> Array:
    """Area under the ROC curve; ties count half."""
    false, true = _roc(labels, scores, weights)
    area = (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1]) / 2).sum(axis=1)
    return _share(area, false[:, -1] * true[:, -1])


def average_precision(labels: Labels, scores: Array, weights: Array) -> Array:
    """Mean precision over the steps of recall. Depends on the prevalence, which must be stated with it."""
    false, true = _roc(labels, scores, weights)
    precision = _share(true, true + false)[:, 1:]
    gained = np.diff(true, axis=1)
    return _share(np.where(gained > 0, gained * precision, 0.0).sum(axis=1), true[:, -1])


def equal_error_rate(labels: Labels, scores: Array, weights: Array) -> Array:
    """Where the shares of missed fakes and of false alarms meet, linearly between two thresholds."""
    false, true = _roc(labels, scores, weights)
    alarms = _share(false, false[:, -1:])
    gap = alarms - (1 - _share(true, true[:, -1:]))  # rises from -1 to 1
    after = np.argmax(gap >= 0, axis=1)
    row = np.arange(len(gap))
    before = np.maximum(after - 1, 0)
    step = gap[row, after] - gap[row, before]
    part = np.divide(-gap[row, before], step, out=np.zeros(len(gap)), where=step > 0)
    return np.asarray(alarms[row, before] + part * (alarms[row, after] - alarms[row, before]))


def detection_rate(rate: float) -> Callable[[Labels, Array, Array], Array]:
    """Share of fakes found at the lowest threshold that at most the share ``rate`` of reals reaches."""

    def statistic(labels: Labels, scores: Array, weights: Array) -> Array:
        false, true = _roc(labels, scores, weights)
        allowed = _share(false, false[:, -1:]) <= rate + 1e-12
        best = np.max(np.where(allowed, true, 0.0), axis=1)
        return _share(best, np.where(false[:, -1] > 0, true[:, -1], 0.0))

    return statistic


def balanced_accuracy(labels: Labels, decisions: Array, weights: Array) -> Array:
    """Mean of the shares of reals let pass (decision 0) and of fakes alarmed at (decision 1)."""
    right = weights * (decisions == labels)
    shares = [_share((right * (labels == k)).sum(axis=1), (weights * (labels == k)).sum(axis=1)) for k in (0, 1)]
    return np.asarray((shares[0] + shares[1]) / 2)


def brier(labels: Labels, probabilities: Array, weights: Array) -> Array:
    """Mean squared error of the probabilities."""
    return _share((weights * (probabilities - labels) ** 2).sum(axis=1), weights.sum(axis=1))


def log_loss(labels: Labels, probabilities: Array, weights: Array) -> Array:
    """Mean negative log-likelihood, natural logarithm."""
    p = np.clip(probabilities, 1e-15, 1 - 1e-15)
    losses = -np.where(labels == 1, np.log(p), np.log1p(-p))
    return _share((weights * losses).sum(axis=1), weights.sum(axis=1))


def mass_bins(probabilities: Array, bins: int = BINS) -> NDArray[np.int64]:
    """Number of the bin, 0 to ``bins - 1``, that each probability falls into; bins hold equally many."""
    bin_of = np.empty(len(probabilities), np.int64)
    for number, part in enumerate(np.array_split(np.argsort(probabilities, kind="stable"), bins)):
        bin_of[part] = number
    return bin_of


def calibration_error(labels: Labels, probabilities: Array, weights: Array) -> Array:
    """Expected calibration error over ten bins of equal mass, which a resample does not move."""
    bins = mass_bins(probabilities)[:, None] == np.arange(BINS)
    gaps = np.abs((weights * (probabilities - labels)) @ bins).sum(axis=1)
    return _share(gaps, weights.sum(axis=1))


def mean_auc(comparisons: Sequence[NDArray[np.bool_]], labels: Labels, scores: Array, weights: Array) -> Array:
    """Mean of the areas over ``comparisons``, each a mask of the files of one manipulation and its reals.

    Pooling sources would measure how well sources can be told apart; the mean over comparisons does not.
    """
    areas = [auc(labels[chosen], scores[chosen], weights[:, chosen]) for chosen in comparisons]
    return np.asarray(np.mean(areas, axis=0)) if areas else np.full(len(weights), np.nan)


def paired_auc(strata: Sequence[str], labels: Labels, scores: Array, weights: Array) -> Array:
    """Share of pairs of a real and a fake *of one stratum* in which the fake scores higher; ties count half."""
    names = np.asarray(strata)
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for name in np.unique(names):
        chosen = names == name
        both = [(weights[:, chosen] * (labels[chosen] == k)).sum(axis=1) for k in (0, 1)]
        count = both[0] * both[1]
        won += np.where(count > 0, np.nan_to_num(auc(labels[chosen], scores[chosen], weights[:, chosen])) * count, 0)
        pairs += count
    return _share(won, pairs)


def ranking(labels: Labels, scores: Array, weights: Array) -> dict[str, Estimate]:
    """What can be said of any score, calibrated or not."""
    statistics = {
        "auc": auc,
        "ap": average_precision,
        "eer": equal_error_rate,
        "tpr_at_1": detection_rate(0.01),
        "tpr_at_5": detection_rate(0.05),
    }
    return {name: estimate(_bound(f, labels, scores), weights) for name, f in statistics.items()}


def calibration(labels: Labels, probabilities: Array, weights: Array) -> dict[str, Estimate]:
    """What can be said of a score that claims to be a probability."""
    statistics = {"brier": brier, "log_loss": log_loss, "ece": calibration_error}
    return {name: estimate(_bound(f, labels, probabilities), weights) for name, f in statistics.items()}


def _bound(function: Callable[[Labels, Array, Array], Array], labels: Labels, scores: Array) -> Statistic:
    return lambda weights: function(labels, scores, weights)


def reliability(labels: Labels, probabilities: Array) -> list[dict[str, Any]]:
    """Mean probability, share of fakes and number of files of each bin of equal mass: a reliability diagram."""
    bins = mass_bins(probabilities)
    return [
        {
            "predicted": round(float(probabilities[bins == k].mean()), 4),
            "observed": round(float(labels[bins == k].mean()), 4),
            "files": int((bins == k).sum()),
        }
        for k in range(BINS)
        if (bins == k).any()
    ]
