"""Batches: pairs, repeatable, with the changed region known where we changed it ourselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detection.training.batches import FacePairs, Pool, _at_one_scale
from detection.training.datasets import read_manifest
from detection.training.train import make_batches, read_config

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def config(tiny_toml):
    return read_config(tiny_toml)


def test_half_of_a_batch_is_real_and_it_can_be_made_again(config):
    crops, targets, weights = make_batches(config)[1]
    assert crops.shape == (8, 32, 32, 3)
    assert targets["logit"][:, 0].tolist() == [0, 1] * 4
    assert targets["regions"].shape == (8, 4)
    assert weights["logit"].tolist() == [1] * 8
    again = make_batches(config)[1][0]
    later = make_batches(config, first_epoch=1)[1][0]
    assert np.array_equal(crops, again)
    assert not np.array_equal(crops, later)


def test_regions_are_known_of_reals_and_pseudo_fakes_but_not_of_labelled_ones(config):
    _, targets, weights = make_batches(replace(config, pseudo_share=0.5))[0]
    assert weights["regions"].tolist() == [1, 1, 1, 1, 1, 0, 1, 0]
    regions = targets["regions"]
    assert not regions[::2].any()
    assert all(region.any() for region in regions[[1, 3]])
    assert 0 <= regions.min() <= regions.max() <= 1


def test_a_negative_is_labelled_real(config):
    _, targets, _ = make_batches(replace(config, pseudo_share=1.0, kinds={"negative": 1.0}))[0]
    assert not targets["logit"].any()
    assert not targets["regions"].any()


def test_both_of_a_pair_go_through_the_same_draw(config):
    # Negatives are equal before the degradations, so they have to be equal after them.
    crops, _, _ = make_batches(replace(config, pseudo_share=1.0, kinds={"negative": 1.0}))[0]
    assert np.array_equal(crops[::2], crops[1::2])
    assert len({crop.tobytes() for crop in crops}) == 4


def test_a_labelled_fake_is_paired_with_the_same_person(config, collection):
    samples = [s for s in read_manifest(collection) if s.split == "train"]
    batches = FacePairs(samples, {}, config.recipe)
    drawn = []
    batches._load = lambda sample: drawn.append(sample) or sample.load()
    batches._labelled_pair(np.random.default_rng(3))
    real, fake = drawn
    assert (real.label, fake.label) == (0, 1)
    assert real.group == fake.group


def test_the_larger_face_of_a_pair_is_shrunk_to_the_smaller():
    points = np.array([[60, 65], [100, 65], [80, 85], [80, 110]], np.float32)
    large, small = np.zeros((160, 160, 3), np.uint8), np.zeros((80, 80, 3), np.uint8)
    (first, first_points), (second, second_points) = _at_one_scale([(large, points), (small, points / 2)])
    assert first.shape == second.shape == small.shape
    assert first_points == pytest.approx(second_points)


def test_origins_are_drawn_by_weight_and_weight_zero_never(collection):
    samples = read_manifest(collection)
    pool = Pool(samples, {"drawn-patch": 0})
    rng = np.random.default_rng(0)
    assert {pool.draw(rng).origin for _ in range(50)} == {"drawn-real"}
    with pytest.raises(ValueError, match="no sample"):
        Pool(samples, {"drawn-patch": 0, "drawn-real": 0})
