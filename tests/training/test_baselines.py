"""MesoNet: our reading of the paper takes the published weights and repeats the published pattern."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest

from detection.engine.networks import mesonet
from detection.training import baselines, metrics
from detection.training.datasets import read_manifest
from detection.training.scoring import comparisons, judge_videos, score_faces
from tests.engine.builders import SPEC, lively_weights

# TensorFlow's arrays do not know NumPy 2's `copy` argument yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
BUILDERS = [mesonet.meso4, mesonet.mesoinception4]


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


def logits(model, crops):
    return np.asarray(model(crops, training=False)["logit"])


@pytest.mark.parametrize("build", BUILDERS)
def test_save_and_load_keep_the_output(build, crops, tmp_path):
    model = build(32)
    lively_weights(model, np.random.default_rng(1))
    expected = logits(model, crops)
    assert expected.shape == (3, 1)
    assert np.ptp(expected) > 1e-3
    model.save_weights(tmp_path / "tiny.weights.h5")
    again = build(32, weights=tmp_path / "tiny.weights.h5")
    assert logits(again, crops) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("build", BUILDERS)
def test_an_odd_size_is_refused(build):
    with pytest.raises(ValueError, match="multiple of 32"):
        build(100)


def test_sizes_are_those_of_the_paper():
    assert mesonet.meso4().count_params() == 28_073  # 27,977 of them trained, as published
    assert mesonet.mesoinception4().count_params() == 28_725  # 28,615 trained


def test_positive_means_manipulated(crops):
    model = mesonet.meso4(32)
    kernel, bias = model.get_layer("real").weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign([4.0])  # certain that it is real
    assert logits(model, crops) == pytest.approx(-4.0)


def test_a_folder_without_weights_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        baselines.load(tmp_path, SPEC)


def test_the_published_networks_know_the_forgery_that_they_were_trained_on(shared_models, shared_data):
    found = baselines.load(shared_models / "mesonet", SPEC)
    assert list(found) == list(baselines.NETWORKS)
    wanted = {"real", "deepfakes", "face2face", "faceswap"}
    samples = [
        s
        for s in read_manifest(shared_data / "faces" / "manifest.csv")
        if s.dataset == "ffpp" and s.split == "val" and s.method in wanted
    ][::3]

    def areas(name):
        judged = judge_videos(score_faces(samples, found[name]), found[name].spec)
        assert all(verdict != "inconclusive" for verdict in judged.verdicts)  # it has no idea of quality
        return {
            origin.split("-")[1]: metrics.auc(judged.labels[m], judged.scores[m], metrics.ones(int(m.sum())))[0]
            for origin, m in comparisons(judged).items()
        }

    deepfakes, face2face = areas("Meso4 (DF)"), areas("Meso4 (F2F)")
    # Section 0 of ../shared/detector.md, on more videos: .850 / .532 / .389 and .761 / .908 / .451.
    assert deepfakes["deepfakes"] > 0.7
    assert deepfakes["faceswap"] < 0.5
    assert face2face["face2face"] > 0.85
