"""What gives a class away without the face being looked at: none of it may survive the way into a batch.

Samples are small to keep the tests short: with 64 pictures of each class an AUC of pure chance lies within 0.4 to 0.6
in 95 of 100 cases. The bounds leave that much room; what larger samples gave is told at each test.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest
from PIL import Image

from detection.training.batches import Recipe
from detection.training.datasets import Sample, read_manifest
from detection.training.shortcuts import OF_FILE, OF_PICTURE, of_batches, of_file, of_picture, separability

# Whole-face synthesis and single-class collections: what they show differs from any reals that we have, and no
# degradation makes studio portraits out of snapshots. Their weight in training is small; see the model card.
APART = frozenset({"ecuador-flux", "sdfd-stable-diffusion", "stylegan-stylegan"})


@pytest.fixture(scope="module")
def samples(shared_data) -> list[Sample]:
    return [s for s in read_manifest(shared_data / "faces" / "manifest.csv") if s.split == "train"]


def recipe(pseudo_share: float, fake_weights: dict[str, float]) -> Recipe:
    return Recipe(
        input_size=128,
        crop_margin=2.9,
        batch_size=32,
        steps_per_epoch=4,
        seed=1,
        pseudo_share=pseudo_share,
        real_weights={},
        fake_weights=fake_weights,
    )


def test_every_crop_was_encoded_alike(samples):
    """Format and quality: one set of quantisation tables, one chroma subsampling for all of both classes."""
    found = set()
    for sample in samples[::40]:
        with Image.open(sample.path) as picture:
            tables = tuple(tuple(table) for table in picture.quantization.values())
            found.add((picture.format, picture.mode, tables, tuple(part[1:3] for part in picture.layer)))
    assert len(found) == 1


def test_the_files_themselves_would_give_their_class_away(samples):
    """The trap is real: file size, picture size and face size alone reach 0.92 on OpenForensics (600 pictures)."""
    chosen = [s for s in samples if s.dataset == "openforensics"][::8]
    measures = np.array([of_file(s) for s in chosen])
    assert measures.shape[1] == len(OF_FILE)
    assert separability(measures, np.array([s.label for s in chosen]), [s.group for s in chosen]) > 0.8


def test_pseudo_fakes_cannot_be_told_by_their_surface(samples):
    """Both members of a pair went through the same draws: 0.51 with 384 pictures."""
    assert of_batches(samples, recipe(1.0, {}), batches=2) < 0.65


def test_labelled_pairs_cannot_be_told_by_their_surface(samples):
    """Size is matched and the draws are shared: 0.51 with 2,688 pictures, 0.57 with 3,840 of all sources."""
    weights = dict.fromkeys(APART, 0.0)
    assert of_batches(samples, recipe(0.0, weights), batches=2) < 0.65


def test_measures_see_what_they_are_named_after():
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 256, (96, 96, 3)).astype(np.uint8)
    plain = np.full((96, 96, 3), 90, np.uint8)
    measured = dict(zip(OF_PICTURE, np.subtract(of_picture(noisy), of_picture(plain)), strict=True))
    assert all(measured[name] > 0 for name in ("brightness", "contrast", "sharpness", "fine detail", "encoded size"))
    labels = np.arange(200) % 2
    groups = [f"g{i // 4}" for i in range(200)]
    assert separability(rng.normal(labels[:, None], 0.3, (200, 2)), labels, groups) > 0.95
    assert 0.35 < separability(rng.normal(0, 1, (200, 2)), labels, groups) < 0.65
