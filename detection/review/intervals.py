"""The exact interval of a share (Clopper and Pearson, 1934), without SciPy, which a server does not install.

Its ends are where the binomial tails reach ``(1 - confidence) / 2``. The tails are summed term by term and the ends
found by halving: exact to a float for the thousands of cases that reviewers judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable

STEPS = 60  # halvings of [0, 1]: more than a float can tell apart


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the share behind ``hits`` of ``trials``, each 0 to 1; all of it where nothing was tried."""
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _halve(lambda share: _sum(hits, trials, trials, share) > tail)
    high = 1.0 if hits == trials else _halve(lambda share: _sum(0, hits, trials, share) < tail)
    return low, high


def _halve(too_high: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _step in range(STEPS):
        middle = (low + high) / 2
        if too_high(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _sum(first: int, last: int, trials: int, share: float) -> float:
    """How probable it is to hit from ``first`` to ``last`` times; ``share`` strictly between 0 and 1."""
    log, rest = math.log(share), math.log1p(-share)
    whole = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log + (trials - k) * rest)
        for k in range(first, last + 1)
    )
