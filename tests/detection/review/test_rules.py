"""When opinions make a decision, what a decision is to the model's verdict, and exact intervals."""

from __future__ import annotations

import pytest
from scipy.stats import beta

from detection.models import decision
from detection.review import rules
from detection.review.intervals import clopper_pearson

A, M, I = "authentic", "manipulated", "inconclusive"  # noqa: E741


@pytest.mark.parametrize(
    ("opinions", "agreeing", "verdict"),
    [
        ([], 1, None),
        ([A], 1, A),
        ([A], 2, None),
        ([A, A], 2, A),
        ([A, M], 2, None),
        ([A, M, M], 2, M),
        ([A, M, I], 2, I),
        ([I, I], 2, I),
    ],
)
def test_settling(opinions: list[str], agreeing: int, verdict: str | None):
    assert rules.settle(opinions, agreeing) == verdict


def test_a_dispute_asks_for_two(settings):
    assert (rules.needed(disputed=False), rules.needed(disputed=True)) == (1, 2)
    settings.REVIEWERS = 2
    assert rules.needed(disputed=False) == 2


@pytest.mark.parametrize(
    ("model", "human", "word"),
    [
        (M, M, "confirmed"),
        (M, A, "overturned"),
        (M, I, "cannot_tell"),
        ("suspicious", M, "confirmed"),
        ("suspicious", A, "overturned"),
        (A, A, "confirmed"),
        (A, M, "overturned"),
        (I, M, "overturned"),
        (I, I, "cannot_tell"),
    ],
)
def test_decisions(model: str, human: str, word: str):
    assert decision(model, human) == word


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (1, 7), (3, 200), (190, 200), (12, 4000), (0, 1)])
def test_intervals_are_those_of_scipy(hits: int, trials: int):
    low = beta.ppf(0.025, hits, trials - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, trials - hits) if hits < trials else 1.0
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-9)


def test_of_nothing_nothing_is_known():
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        clopper_pearson(3, 2)
