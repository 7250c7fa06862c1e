"""Networks: small configurations, save and load, and the evidence identity."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest

from tests.engine.builders import lively_weights

mobilenetv2 = pytest.importorskip("detection.engine.networks.mobilenetv2", reason="needs the training packages")

# TensorFlow's arrays do not know NumPy 2's `copy` argument yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def model():
    model = mobilenetv2.build(32, alpha=0.35)
    lively_weights(model, np.random.default_rng(1))
    return model


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


def test_shapes_and_the_evidence_identity(model, crops):
    outputs = {key: np.asarray(value) for key, value in model(crops, training=False).items()}
    assert outputs["logit"].shape == (3, 1)
    assert outputs["evidence"].shape == (3, 2, 2)
    assert outputs["evidence"].mean(axis=(1, 2)) == pytest.approx(outputs["logit"][:, 0], abs=1e-5)


def test_save_and_load_keep_the_output(model, crops, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    model.save_weights(path)
    other = mobilenetv2.build(32, alpha=0.35)
    before = np.asarray(other(crops, training=False)["logit"])
    other.load_weights(path)
    after = np.asarray(other(crops, training=False)["logit"])
    expected = np.asarray(model(crops, training=False)["logit"])
    assert np.abs(before - expected).max() > 1e-3
    assert after == pytest.approx(expected, rel=1e-5)


def test_normalisation_is_inside(model):
    # A network that took 0..1 or 0..255 unscaled would not see black and white symmetrically around zero.
    layer = model.get_layer("normalise")
    scaled = np.asarray(layer(np.array([[[[0, 127, 255]]]], np.uint8)))
    assert scaled.ravel() == pytest.approx([-1, -0.0039, 1], abs=1e-3)


def test_training_leaves_batch_normalisation_alone(crops):
    # The published weights carry it folded; statistics of our batches would throw the pre-training away.
    keras = pytest.importorskip("keras")
    model = mobilenetv2.build(32, alpha=0.35, dropout=0.0)
    trained = keras.Model(model.input, model.get_layer("logit").output)
    frozen = {v.path: np.asarray(v) for v in model.variables if "moving" in v.path}
    assert frozen
    evaluated, in_training = (np.asarray(trained(crops, training=flag)) for flag in (False, True))
    assert in_training == pytest.approx(evaluated, abs=1e-5)
    trained.compile(optimizer="sgd", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    trained.fit(crops, np.array([[0.0], [1.0], [1.0]]), verbose=0)
    for variable in model.variables:
        if variable.path in frozen:
            assert np.array_equal(np.asarray(variable), frozen[variable.path])


def test_an_odd_size_is_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        mobilenetv2.build(100)


def test_the_published_weights_fit(shared_models):
    path = shared_models / "mobilenetv2_1.0_224_imagenet_notop.weights.h5"
    crops = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    assert np.isfinite(np.asarray(mobilenetv2.build(64, weights=path)(crops, training=False)["logit"])).all()


@pytest.fixture(scope="module")
def members():
    linear = pytest.importorskip("detection.engine.networks.mobilenetv2_linear")
    networks = mobilenetv2.build(96, alpha=0.35), linear.build(64)
    for seed, network in enumerate(networks):
        lively_weights(network, np.random.default_rng(seed))
    return networks


@pytest.fixture(scope="module")
def ensemble(members):
    module = pytest.importorskip("detection.engine.networks.ensemble")
    return module.build(members, [(0.5, -1.0), (2.0, 0.25)])


class TestEnsemble:
    def test_it_says_the_mean_of_what_its_members_say_of_their_sizes(self, members, ensemble):
        # A plain colour stays what it is, whoever scales it down; random networks make much of the least difference.
        crop = np.full((96, 96, 3), (180, 120, 90), np.uint8)
        large, small = members
        first = float(np.asarray(large(crop[None], training=False)["logit"])[0, 0])
        second = float(np.asarray(small(crop[None, :64, :64], training=False)["logit"])[0, 0])
        both = float(np.asarray(ensemble(crop[None], training=False)["logit"])[0, 0])
        assert both == pytest.approx(((0.5 * first - 1) + (2 * second + 0.25)) / 2, rel=1e-3)

    def test_the_mean_of_its_evidence_is_its_logit_although_maps_differ_in_size(self, ensemble):
        crops = np.random.default_rng(4).integers(0, 256, (2, 96, 96, 3)).astype(np.uint8)
        outputs = {key: np.asarray(value) for key, value in ensemble(crops, training=False).items()}
        assert outputs["evidence"].shape == (2, 6, 6)
        assert outputs["evidence"].mean(axis=(1, 2)) == pytest.approx(outputs["logit"][:, 0], rel=1e-4, abs=1e-4)
        assert np.ptp(outputs["logit"]) > 1e-3
