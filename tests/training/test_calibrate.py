"""Calibration and operating point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detection.training import calibrate, metrics
from detection.training.datasets import Sample
from detection.training.evaluate import Scores, auc_by_origin, by_video

FACE = np.zeros((4, 2), np.float32)


def sample(label, video, dataset="ffpp", method=None):
    name = method or ("deepfakes" if label else "real")
    return Sample(Path("x.jpg"), label, dataset, name, "val", video, video, FACE)


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    labels = [0] * 400 + [1] * 400
    # True probability is sigmoid(2 * logit - 1): the fit has to find that again.
    logits = rng.normal(0.5, 1.5, 8000)
    drawn = rng.random(8000) < 1 / (1 + np.exp(-(2 * logits - 1)))
    real, fake = logits[~drawn][:400], logits[drawn][:400]
    samples = tuple(sample(label, str(i)) for i, label in enumerate(labels))
    return Scores(samples, np.concatenate([real, fake]).astype(np.float32))


def test_platt_finds_the_slope(scores):
    assert calibrate.fit(scores).slope == pytest.approx(2.0, rel=0.15)


def test_fitted_probabilities_are_calibrated(scores):
    labels = np.array([s.label for s in scores.samples])
    fitted = calibrate.fit(scores).apply(scores.logits)
    overconfident = calibrate.Calibration(9.0, 0.0).apply(scores.logits)
    once = metrics.ones(len(labels))
    assert metrics.calibration_error(labels, fitted, once)[0] < 0.06
    assert metrics.calibration_error(labels, overconfident, once)[0] > 0.1


def test_origins_count_the_same_whatever_their_size():
    few = [sample(0, f"a{i}", "lfw") for i in range(10)]
    many = [sample(0, f"b{i}") for i in range(1000)]
    fakes = [sample(1, f"c{i}") for i in range(1000)]
    logits = np.array([2.0] * 10 + [-2.0] * 1000 + [1.0] * 500 + [3.0] * 500, np.float32)
    swapped = np.array([-2.0] * 10 + [2.0] * 1000 + [1.0] * 500 + [3.0] * 500, np.float32)
    first = calibrate.fit(Scores((*few, *many, *fakes), logits))
    second = calibrate.fit(Scores((*few, *many, *fakes), swapped))
    assert first == pytest.approx(second, rel=1e-3)


@pytest.mark.parametrize(("rate", "alarms"), [(0.0, 0), (0.01, 10), (0.05, 50)])
def test_the_threshold_lets_so_many_reals_through_and_no_more(rate, alarms):
    reals = np.random.default_rng(0).random(1000)
    assert (reals >= calibrate.threshold_for(reals, rate)).sum() == alarms


def test_a_handful_of_separated_videos_does_not_make_certain():
    samples = tuple(sample(i % 2, str(i)) for i in range(20))
    scores = Scores(samples, np.array([5.0 if i % 2 else -5.0 for i in range(20)], np.float32))
    assert calibrate.fit(scores).apply(scores.logits).max() == pytest.approx(11 / 12, abs=0.01)


def test_one_in_a_hundred_real_videos_reaches_the_prediction_limit():
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(2000):
        known, new = rng.normal(-1, 2, 8), rng.normal(-1, 2, 50)
        reached.append((new >= calibrate.prediction_limit(known, [str(i) for i in range(8)], 0.01)).mean())
    assert np.mean(reached) == pytest.approx(0.01, abs=0.003)


def test_two_people_are_too_few_for_a_limit():
    with pytest.raises(ValueError, match="2 people"):
        calibrate.prediction_limit(np.zeros(9, np.float32), ["a", "b", "a"] * 3, 0.01)


def test_frames_of_a_video_are_averaged():
    scores = Scores((sample(0, "a"), sample(0, "a"), sample(1, "b")), np.array([1, 3, 5], np.float32))
    videos = by_video(scores)
    assert [s.video for s in videos.samples] == ["a", "b"]
    assert videos.logits == pytest.approx([2, 5])


def test_auc_is_one_for_a_perfect_and_half_for_a_blind_detector():
    samples = tuple(sample(i % 2, str(i)) for i in range(100))
    perfect = Scores(samples, np.array([i % 2 for i in range(100)], np.float32))
    blind = Scores(samples, np.zeros(100, np.float32))
    row = auc_by_origin(perfect)[0]
    assert (row["origin"], row["auc"], row["real"], row["fake"]) == ("ffpp-deepfakes", 1.0, 50, 50)
    assert auc_by_origin(blind)[0]["auc"] == 0.5
