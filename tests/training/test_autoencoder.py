import csv

import cv2
import numpy as np
import pytest

from detection.training import autoencoder
from detection.training.datasets import read_manifests
from tests.portraits import portrait
from tests.training.faces import write_collection

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.parametrize("enlarger", sorted(autoencoder.ENLARGERS))
def test_pictures_keep_their_size_and_shading_and_lose_their_texture(enlarger):
    picture = np.clip(portrait(90) + np.random.default_rng(0).normal(0, 20, (90, 90, 3)), 0, 255).astype(np.uint8)[
        :, :85
    ]
    drawn = autoencoder.redraw(autoencoder.build(enlarger, width=4), picture)
    assert (drawn.shape, drawn.dtype) == (picture.shape, np.uint8)
    coarse = [cv2.GaussianBlur(p.astype(np.float32), (0, 0), 8) for p in (picture, drawn)]
    assert np.abs(coarse[0] - coarse[1]).mean() < 4
    assert drawn.astype(float).std() < picture.astype(float).std()


def test_it_learns_to_draw_what_it_is_shown(tmp_path):
    samples = read_manifests([write_collection(tmp_path, people=4)])
    picture = samples[0].load()

    def error(steps):
        model = autoencoder.train("nearest", samples, steps=steps, seed=1)
        return np.abs(autoencoder.redraw(model, picture).astype(float) - picture).mean()

    assert error(40) < 0.9 * error(1)


def test_genuine_training_faces_alone_are_drawn_anew_beside_their_originals(tmp_path):
    manifest = write_collection(tmp_path, people=8)
    models = {name: autoencoder.build(name, width=4) for name in ("transposed", "shuffled")}
    written = autoencoder.redraw_manifest(manifest, tmp_path / "redrawn", models, every=2)
    originals = {s.group: s.split for s in read_manifests([manifest])}
    drawn = [s for s in read_manifests([manifest, written]) if s.method == autoencoder.METHOD]
    with manifest.open() as file:
        expected = [row for row in csv.DictReader(file) if row["label"] == "0" and row["split"] == "train"]
    assert len(drawn) == len(expected[::2]) > 0
    assert all(s.label == 1 and s.split == originals[s.group] != "val" for s in drawn)
    assert all(s.load().shape == (160, 160, 3) for s in drawn)


def test_an_unknown_enlarger_is_named():
    with pytest.raises(ValueError, match="transposed"):
        autoencoder.train("magic", [], steps=1, seed=0)
