"""Degradations and pseudo-fakes: same size, same draw for a pair, and a change only where the mask is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from detection.training import augment
from detection.training.pseudo_fakes import face_mask, self_blend

LANDMARKS = np.array([[70, 80], [130, 80], [100, 115], [100, 145]], np.float32)


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (220, 200, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@pytest.mark.parametrize("seed", range(20))
def test_degradation_keeps_shape_and_type(picture, seed):
    degraded = augment.degrade(picture, np.random.default_rng(seed))
    assert degraded.shape == picture.shape
    assert degraded.dtype == np.uint8


def test_the_same_draw_gives_the_same_degradation(picture):
    first, second = (augment.degrade(picture, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)


def test_lower_quality_loses_more(picture):
    def loss(quality):
        return np.abs(augment.jpeg(picture, quality).astype(int) - picture).mean()

    assert loss(30) > loss(90) > 0


@pytest.mark.parametrize("seed", range(10))
def test_a_mask_is_soft_bounded_and_on_the_face(seed):
    mask = face_mask((220, 200), LANDMARKS, np.random.default_rng(seed))
    assert mask.shape == (220, 200)
    assert mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() <= 1 + 1e-6
    ys, xs = np.nonzero(mask > 0.5)
    assert 40 < xs.mean() < 160
    assert 60 < ys.mean() < 170


def test_masks_differ_in_size():
    areas = [face_mask((220, 200), LANDMARKS, np.random.default_rng(s)).sum() for s in range(30)]
    assert max(areas) > 3 * min(areas)


@pytest.mark.parametrize("seed", range(10))
def test_a_self_blend_changes_the_face_only(picture, seed):
    real, fake = self_blend(picture, LANDMARKS, np.random.default_rng(seed))
    assert real.shape == fake.shape == picture.shape
    change = np.abs(real.astype(int) - fake).max(axis=2)
    assert change.max() > 0
    assert change[:8].max() <= 1  # rounding: above the forehead nothing is blended


def test_half_of_the_reals_carry_the_change_too(picture):
    changed = [
        not np.array_equal(self_blend(picture, LANDMARKS, np.random.default_rng(s))[0], picture) for s in range(40)
    ]
    assert 8 < sum(changed) < 32


def test_the_training_crop_has_the_networks_size(picture):
    crop = augment.training_crop(picture, LANDMARKS, margin=2.9, size=96, rng=np.random.default_rng(0))
    assert crop.shape == (96, 96, 3)
    assert crop.flags.c_contiguous
