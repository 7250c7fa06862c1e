"""The shipped classifier: its explanation is its decision, and it is the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from detection.engine.registry import find_model
from detection.engine.runtimes.litert import LiteRTClassifier


@pytest.fixture(scope="module")
def classifier():
    return LiteRTClassifier(find_model())


@pytest.fixture
def crops():
    size = find_model().input_size
    return np.random.default_rng(3).integers(0, 256, (5, size, size, 3)).astype(np.uint8)


def test_shapes(classifier, crops):
    logits, evidence = classifier.predict(crops)
    side = find_model().input_size // 16
    assert logits.shape == (5,)
    assert evidence.shape == (5, side, side)
    assert logits.dtype == evidence.dtype == np.float32


def test_the_logit_is_the_mean_of_the_evidence(classifier, crops):
    logits, evidence = classifier.predict(crops)
    assert evidence.mean(axis=(1, 2)) == pytest.approx(logits, abs=1e-4)


def test_a_crop_scores_the_same_alone_and_in_company(classifier, crops):
    together = classifier.predict(crops).logits
    alone = [classifier.predict(crop[None]).logits[0] for crop in crops]
    assert together == pytest.approx(alone, abs=1e-6)


def test_different_crops_score_differently(classifier, crops):
    flat = np.zeros_like(crops[:1])
    assert abs(classifier.predict(crops[:1]).logits[0] - classifier.predict(flat).logits[0]) > 0.1
