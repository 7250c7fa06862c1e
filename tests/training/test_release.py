"""From a folder of faces to a file that the engine serves, with a tiny network and drawn faces."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import cv2
import numpy as np
import pytest

from detection.engine.classifier import LiteRTClassifier
from detection.engine.networks import mobilenetv2
from detection.engine.registry import find_model
from detection.training.export import to_litert
from detection.training.release import release
from detection.training.train import FaceBatches, read_config, train
from tests.engine.builders import lively_weights
from tests.portraits import portrait

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A complete configuration over 160 drawn faces; manipulated ones carry a green patch on the mouth."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(160):
        label = i % 2
        picture = np.clip(portrait(160) + rng.normal(0, 6, (160, 160, 3)), 0, 255).astype(np.uint8)
        if label:
            picture[100:130, 55:105, 1] = 255
        cv2.imwrite(str(folder / f"{i}.png"), picture[..., ::-1])
        rows.append(
            {
                "file": f"{i}.png",
                "label": label,
                "dataset": "lfw",
                "method": "faceswap" if label else "real",
                "split": "val" if i >= 120 else "train",
                "group": f"person{i}",
                "source": f"{i}",
                "frame": 0,
                "landmarks": "60,65 100,65 80,85 65,110 95,110",
            }
        )
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    toml = folder / "tiny.toml"
    toml.write_text(
        f'manifest = "{folder / "manifest.csv"}"\noutput = "{folder / "run"}"\ninput_size = 32\n'
        "batch_size = 8\nsteps_per_epoch = 2\nepochs = 1\n"
    )
    return read_config(toml)


def test_a_batch_is_balanced_and_repeatable(config):
    from detection.training.datasets import read_manifest

    samples = [s for s in read_manifest(config.manifest) if s.split == "train"]
    crops, labels = FaceBatches(samples, config)[1]
    assert crops.shape == (8, 32, 32, 3)
    assert labels.sum() == 4
    again, _ = FaceBatches(samples, config)[1]
    assert np.array_equal(crops, again)
    later, _ = FaceBatches(samples, config, first_epoch=1)[1]
    assert not np.array_equal(crops, later)


def test_training_resumes_and_release_registers_a_loadable_model(config, tmp_path):
    weights = train(config)
    assert weights.exists()
    log = config.output / "log.csv"
    assert len(log.read_text().splitlines()) == 2
    train(replace(config, epochs=2))  # goes on with epoch 2 and does not repeat epoch 1
    assert len(log.read_text().splitlines()) == 3

    entry = release(replace(config, epochs=2), "tiny", "7", tmp_path)
    assert "lfw-faceswap" in entry
    spec = find_model(folder=tmp_path)
    assert (spec.name, spec.version, spec.input_size) == ("tiny", "7", 32)
    assert 0.5 <= spec.suspicious <= spec.manipulated < 1
    assert LiteRTClassifier(spec).predict(np.zeros((2, 32, 32, 3), np.uint8)).logits.shape == (2,)


def test_the_exported_file_says_what_the_network_said(tmp_path):
    model = mobilenetv2.build(32)
    rng = np.random.default_rng(1)
    lively_weights(model, rng)
    weights = Path(tmp_path / "net.weights.h5")
    model.save_weights(weights)
    file = to_litert(weights, tmp_path / "net.tflite", input_size=32)
    crops = rng.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    expected = np.asarray(model(crops, training=False)["logit"])[:, 0]
    served = LiteRTClassifier(replace(find_model(), path=file, input_size=32)).predict(crops).logits
    assert np.ptp(expected) > 0.01
    # Weights are rounded to float16, and random weights amplify that more than trained ones do.
    assert served == pytest.approx(expected, rel=5e-2, abs=2e-2 * float(np.ptp(expected)))
