"""From a folder of faces to a file that the engine serves, with a tiny network and drawn faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detection.engine.networks import mobilenetv2
from detection.engine.registry import find_model
from detection.engine.runtimes.litert import LiteRTClassifier
from detection.training.datasets import Sample
from detection.training.export import to_litert
from detection.training.release import image_point, release, video_point
from detection.training.scoring import Faces
from detection.training.train import read_config, train
from tests.engine.builders import lively_weights

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def test_release_registers_a_calibrated_model_that_the_engine_loads(tiny_toml, tmp_path):
    config = read_config(tiny_toml)
    train(config)
    entry = release(config.output, "tiny", "7", tmp_path)
    assert "drawn-patch" in entry
    spec = find_model(folder=tmp_path)
    assert (spec.name, spec.version, spec.input_size) == ("tiny", "7", 32)
    for point in (spec.image, spec.video):
        assert 0.5 <= point.suspicious <= point.manipulated < 1
    assert LiteRTClassifier(spec).predict(np.zeros((2, 32, 32, 3), np.uint8)).logits.shape == (2,)


def scored(logits, label, video):
    face = np.zeros((4, 2), np.float32)
    samples = tuple(
        Sample(Path("x"), label, "ffpp", "fake" if label else "real", "calibration", video, video, face) for _ in logits
    )
    return samples, list(logits)


def faces_of(*parts):
    samples = tuple(s for part in parts for s in part[0])
    logits = np.array([v for part in parts for v in part[1]], np.float32)
    return Faces(samples, logits, ())


def test_videos_are_calibrated_on_their_means_and_stills_on_single_faces():
    rng = np.random.default_rng(0)
    parts = [
        scored(rng.normal(centre, 3, 20), label, f"{label}-{i}")
        for label, centres in ((0, rng.normal(-2, 0.5, 12)), (1, rng.normal(2, 0.5, 12)))
        for i, centre in enumerate(centres)
    ]
    held_out = faces_of(*parts)
    image, video = image_point(held_out), video_point(held_out, min_frames=4)
    # Means of twenty noisy frames hardly overlap, single frames do.
    assert video.slope > 1.5 * image.slope
    assert video.manipulated < image.manipulated


def test_without_videos_their_operating_point_is_that_of_stills():
    rng = np.random.default_rng(0)
    parts = [scored(rng.normal(4 * label - 2, 2, 1), label, f"{label}-{i}") for label in (0, 1) for i in range(50)]
    held_out = faces_of(*parts)
    assert video_point(held_out, min_frames=4) == image_point(held_out)


def test_the_exported_file_says_what_the_network_said(tmp_path):
    model = mobilenetv2.build(32)
    rng = np.random.default_rng(1)
    lively_weights(model, rng)
    file = to_litert(model, tmp_path / "net.tflite")
    crops = rng.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    expected = np.asarray(model(crops, training=False)["logit"])[:, 0]
    served = LiteRTClassifier(replace(find_model(), path=file, input_size=32)).predict(crops).logits
    assert np.ptp(expected) > 0.01
    # Weights are rounded to float16, and random weights amplify that more than trained ones do.
    assert served == pytest.approx(expected, rel=5e-2, abs=2e-2 * float(np.ptp(expected)))
