"""Every figure against scikit-learn's, and intervals that know who belongs together."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from detection.training import metrics


@pytest.fixture
def files():
    """Labels, scores with ties, and weights as a bootstrap draws them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    scores = np.round(1 / (1 + np.exp(-rng.normal(labels * 1.2 - 0.6, 1))), 2)
    return labels, scores, rng.integers(0, 4, (5, 300)).astype(float)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.auc, reference.roc_auc_score),
        (metrics.average_precision, reference.average_precision_score),
        (metrics.brier, reference.brier_score_loss),
        (metrics.log_loss, reference.log_loss),
    ],
)
def test_weighted_figures_are_those_of_scikit_learn(files, ours, theirs):
    labels, scores, weights = files
    scores = np.clip(scores, 0.01, 0.99)
    expected = [theirs(labels, scores, sample_weight=draw) for draw in weights]
    assert ours(labels, scores, weights) == pytest.approx(expected)


def test_balanced_accuracy_is_that_of_scikit_learn(files):
    labels, scores, weights = files
    decisions = (scores >= 0.6).astype(float)
    expected = [reference.balanced_accuracy_score(labels, decisions, sample_weight=draw) for draw in weights]
    assert metrics.balanced_accuracy(labels, decisions, weights) == pytest.approx(expected)


def test_detection_rate_is_the_best_point_that_keeps_the_false_alarms(files):
    labels, scores, _ = files
    false, true, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    for rate in (0.01, 0.05, 0.2):
        found = metrics.detection_rate(rate)(labels, scores, metrics.ones(300))
        assert found == pytest.approx(true[false <= rate].max())


def test_equal_error_rate_lies_where_the_two_rates_cross(files):
    labels, scores, _ = files
    false, true, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    expected = np.interp(0.0, false + true - 1, false)  # the gap rises along the curve
    assert metrics.equal_error_rate(labels, scores, metrics.ones(300)) == pytest.approx(expected, abs=1e-6)


def test_a_perfect_a_blind_and_an_inverted_detector():
    labels, one = np.array([0, 0, 1, 1]), metrics.ones(4)
    for scores, area, error in (([1, 2, 3, 4], 1.0, 0.0), ([5, 5, 5, 5], 0.5, 0.5), ([4, 3, 2, 1], 0.0, 1.0)):
        values = np.array(scores, float)
        assert metrics.auc(labels, values, one) == pytest.approx(area)
        assert metrics.equal_error_rate(labels, values, one) == pytest.approx(error)


def test_calibration_error_is_zero_for_honest_and_large_for_overconfident_probabilities():
    rng = np.random.default_rng(1)
    probabilities = rng.random(20_000)
    labels = (rng.random(20_000) < probabilities).astype(int)
    one = metrics.ones(20_000)
    assert metrics.calibration_error(labels, probabilities, one)[0] < 0.02
    assert metrics.calibration_error(labels, np.round(probabilities), one)[0] > 0.2


def test_calibration_error_is_the_textbook_sum(files):
    labels, scores, _ = files
    parts = np.array_split(np.argsort(scores, kind="stable"), 10)
    expected = sum(len(p) / 300 * abs(scores[p].mean() - labels[p].mean()) for p in parts)
    assert metrics.calibration_error(labels, scores, metrics.ones(300))[0] == pytest.approx(expected)
    assert sum(row["files"] for row in metrics.reliability(labels, scores)) == 300


def test_members_of_a_cluster_are_drawn_together():
    weights = metrics.cluster_weights(["a", "b", "a", "c", "b"], draws=50)
    assert weights.shape == (50, 5)
    assert np.array_equal(weights[:, 0], weights[:, 2])
    assert np.array_equal(weights[:, 1], weights[:, 4])
    assert np.array_equal(weights[:, [0, 1, 3]].sum(axis=1), np.full(50, 3))
    assert np.array_equal(weights, metrics.cluster_weights(["a", "b", "a", "c", "b"], draws=50))


def test_repeating_every_file_does_not_narrow_the_interval_when_clusters_are_known():
    rng = np.random.default_rng(2)
    labels = np.repeat(rng.integers(0, 2, 40), 10)
    scores = np.repeat(rng.normal(labels[::10] * 1.0, 1), 10)
    people = [str(i // 10) for i in range(400)]
    alone = [str(i) for i in range(400)]

    def width(clusters):
        interval = metrics.estimate(lambda w: metrics.auc(labels, scores, w), metrics.cluster_weights(clusters))
        return interval.high - interval.low

    assert width(people) > 2 * width(alone)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    truth = 0.76025  # of two unit normals one apart
    hits = 0
    for number in range(100):
        labels = np.repeat([0, 1], 60)
        scores = rng.normal(labels, 1)
        weights = metrics.cluster_weights([str(i) for i in range(120)], draws=300, seed=number)
        area = metrics.estimate(lambda w, y=labels, s=scores: metrics.auc(y, s, w), weights)
        hits += area.low <= truth <= area.high
    assert 88 <= hits <= 100


def test_one_class_alone_has_no_figures_and_says_so():
    labels, scores = np.zeros(4, int), np.arange(4.0)
    area = metrics.estimate(lambda w: metrics.auc(labels, scores, w), metrics.cluster_weights(list("abcd"), draws=10))
    assert area.as_dict() == {"value": None, "low": None, "high": None}


def test_sources_are_not_compared_with_each_other():
    # Source b scores higher as a whole; inside each source the fake is always ahead.
    labels = np.array([0, 1, 0, 1])
    scores = np.array([0.1, 0.2, 0.8, 0.9])
    one = metrics.ones(4)
    assert metrics.auc(labels, scores, one) == pytest.approx(0.75)
    assert metrics.paired_auc(list("aabb"), labels, scores, one) == pytest.approx(1.0)
    masks = [np.array([True, True, False, False]), np.array([False, False, True, True])]
    assert metrics.mean_auc(masks, labels, scores, one) == pytest.approx(1.0)


def test_exact_bounds_know_the_rule_of_three():
    assert metrics.upper_bound(0, 299) == pytest.approx(0.01, abs=2e-4)
    assert metrics.upper_bound(1, 473) == pytest.approx(0.01, abs=2e-4)
    assert metrics.upper_bound(5, 5) == 1.0
    assert metrics.upper_bound(0, 0) == 1.0
    share = metrics.proportion(0, 10)
    assert (share.value, share.low) == (0.0, 0.0)
    assert share.high == pytest.approx(0.3085, abs=1e-4)
    assert np.isnan(metrics.proportion(0, 0).value)
