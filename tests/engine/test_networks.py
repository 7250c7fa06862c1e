"""Networks: small configurations, save and load, and the evidence identity."""

from __future__ import annotations

import os
from functools import partial

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest

from tests.engine.builders import lively_weights, short_efficientnet

mobilenetv2 = pytest.importorskip("detection.engine.networks.mobilenetv2", reason="needs the training packages")
efficientnet_lite = pytest.importorskip("detection.engine.networks.efficientnet_lite")

# TensorFlow's arrays do not know NumPy 2's `copy` argument yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def model():
    model = mobilenetv2.build(32, alpha=0.35)
    lively_weights(model, np.random.default_rng(1))
    return model


@pytest.fixture(scope="module")
def lite():
    model = efficientnet_lite.build(32)
    lively_weights(model, np.random.default_rng(1))
    return model


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("family", ["model", "lite"])
def test_shapes_and_the_evidence_identity(family, crops, request):
    model = request.getfixturevalue(family)
    outputs = {key: np.asarray(value) for key, value in model(crops, training=False).items()}
    assert np.ptp(outputs["logit"]) > 1e-3
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


@pytest.mark.parametrize(
    "build", [partial(mobilenetv2.build, alpha=0.35), efficientnet_lite.build], ids=["mobilenetv2", "lite"]
)
def test_training_leaves_batch_normalisation_alone(build, crops):
    # The published weights carry it folded; statistics of our batches would throw the pre-training away.
    keras = pytest.importorskip("keras")
    model = build(32, dropout=0.0)
    trained = keras.Model(model.input, model.get_layer("logit").output)
    frozen = {v.path: np.asarray(v) for v in model.variables if "moving" in v.path}
    assert frozen
    evaluated, in_training = (np.asarray(trained(crops, training=flag)) for flag in (False, True))
    assert in_training == pytest.approx(evaluated, abs=1e-5)
    # One step: a graph would take longer to make than to run.
    trained.compile(optimizer="sgd", loss=keras.losses.BinaryCrossentropy(from_logits=True), run_eagerly=True)
    trained.fit(crops, np.array([[0.0], [1.0], [1.0]]), verbose=0)
    for variable in model.variables:
        if variable.path in frozen:
            assert np.array_equal(np.asarray(variable), frozen[variable.path])


@pytest.mark.parametrize("family", [mobilenetv2, efficientnet_lite])
def test_an_odd_size_is_refused(family):
    with pytest.raises(ValueError, match="multiple of 32"):
        family.build(100)


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


class TestFrameFeatures:
    """Published networks behind one face: uint8 RGB in, whatever they were trained on inside."""

    def test_efficientnet_shows_what_its_decision_is_made_of(self):
        build = pytest.importorskip("detection.engine.networks.efficientnetb0").build
        crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
        model = build(64)
        outputs = {key: np.asarray(value) for key, value in model(crops, training=False).items()}
        assert (outputs["logit"].shape, outputs["evidence"].shape) == ((2, 1), (2, 2, 2))
        assert outputs["evidence"].mean(axis=(1, 2)) == pytest.approx(outputs["logit"][:, 0], abs=1e-5)
        with pytest.raises(ValueError, match="multiple of 32"):
            build(100)

    @pytest.mark.parametrize(
        ("name", "pixel", "expected"),
        [
            ("mobilenetv2", (0, 127.5, 255), (-1, 0, 1)),
            ("inceptionv3", (0, 127.5, 255), (-1, 0, 1)),
            # What it does itself, (x / 255 - mean) / sqrt(deviation), comes to (x / 255 - mean) / deviation with it.
            ("efficientnetb0", (123.675, 116.28, 103.53), (123.675, 116.28, 103.53)),
            (
                "efficientnetb0",
                (255, 0, 103.53),
                (123.675 + 131.325 / 0.229**0.5, 116.28 - 116.28 / 0.224**0.5, 103.53),
            ),
            ("resnet50", (123.68, 116.779, 103.939), (0, 0, 0)),
            ("resnet50", (255, 116.779, 103.939), (0, 0, 255 - 123.68)),  # red comes last
        ],
    )
    def test_every_backbone_sees_the_pixels_that_it_was_trained_on(self, name, pixel, expected):
        backbones = pytest.importorskip("detection.engine.networks.backbones")
        pixels = np.array(pixel, np.float32).reshape(1, 1, 1, 3)
        seen = np.asarray(backbones.BACKBONES[name].normalise(pixels)).ravel()
        assert seen == pytest.approx(expected, abs=1e-3)

    def test_the_published_weights_keep_their_statistics(self, shared_models):
        sequence = pytest.importorskip("detection.engine.networks.sequence")
        path = shared_models / "mobilenetv2_1.0_224_imagenet_notop.weights.h5"
        network = sequence.frame_features("mobilenetv2", 64, weights=path)
        assert network.output_shape == (None, 1280)
        crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
        evaluated, in_training = (np.asarray(network(crops, training=flag)) for flag in (False, True))
        assert in_training == pytest.approx(evaluated, abs=1e-4)

    def test_weights_from_keras_make_the_same_network_that_keras_makes_of_them(self, tmp_path, monkeypatch):
        """Keras builds EfficientNet otherwise for "imagenet" than for a file, and a run that is read back is built
        for a file.
        """
        keras = pytest.importorskip("keras")
        backbones = pytest.importorskip("detection.engine.networks.backbones")
        path = short_efficientnet(monkeypatch, tmp_path)
        crops = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
        build = backbones.BACKBONES["efficientnetb0"].build
        theirs = build(include_top=False, input_shape=(32, 32, 3), weights="imagenet")
        expected = np.asarray(theirs(crops.astype(np.float32), training=False))
        assert np.ptp(expected) > 0.1
        pixels = keras.Input((32, 32, 3), dtype="uint8")
        for weights in ("imagenet", path):
            ours = keras.Model(pixels, backbones.features("efficientnetb0", pixels, weights=weights))
            found = np.asarray(ours(crops, training=False))
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-3 * float(np.ptp(expected))), weights

    @pytest.mark.parametrize(("name", "size"), [("inceptionv3", 75), ("resnet50", 32)])
    def test_faces_of_a_video_become_vectors_and_vectors_a_verdict(self, name, size):
        sequence = pytest.importorskip("detection.engine.networks.sequence")
        crops = np.random.default_rng(0).integers(0, 256, (3, size, size, 3)).astype(np.uint8)
        vectors = np.asarray(sequence.frame_features(name, size)(crops, training=False))
        assert vectors.shape == (3, 2048)
        head = sequence.build(4, 2048, units=4)
        videos = np.zeros((2, 4, 2048), np.float32)
        videos[0, :3], videos[1, :2] = vectors, vectors[:2]
        mask = np.array([[True, True, True, False], [True, True, False, False]])
        logits = np.asarray(head([videos, mask], training=False)["logit"])
        assert logits.shape == (2, 1)
        assert np.isfinite(logits).all()
        assert logits[0] != pytest.approx(logits[1])

    def test_inception_says_that_it_wants_larger_crops(self):
        sequence = pytest.importorskip("detection.engine.networks.sequence")
        with pytest.raises(ValueError, match="75 pixels or more, not 64"):
            sequence.frame_features("inceptionv3", 64)


class TestSequence:
    @pytest.fixture
    def head(self):
        return pytest.importorskip("detection.engine.networks.sequence").build(4, 8, units=4)

    @pytest.fixture
    def vectors(self):
        return np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)

    def test_what_is_masked_says_nothing(self, head, vectors):
        mask = np.array([[True, True, False, False], [True] * 4])
        before = np.asarray(head([vectors, mask])["logit"])
        vectors[0, 2:] = 99
        assert np.asarray(head([vectors, mask])["logit"]) == pytest.approx(before)
        vectors[1, 2:] = 99
        assert np.asarray(head([vectors, mask])["logit"])[1] != pytest.approx(before[1])

    def test_the_order_of_frames_counts(self, head, vectors):
        mask = np.ones((2, 4), bool)
        forwards, backwards = (np.asarray(head([part, mask])["logit"]) for part in (vectors, vectors[:, ::-1]))
        assert forwards.shape == (2, 1)
        assert forwards != pytest.approx(backwards)

    def test_what_features_were_scaled_by_is_saved_along(self, head, vectors, tmp_path):
        sequence = pytest.importorskip("detection.engine.networks.sequence")
        trained, again = (sequence.build(4, 8, units=4) for _ in range(2))
        trained.get_layer("normalise").adapt(vectors * 7 + 3)
        trained.save_weights(tmp_path / "head.weights.h5")
        again.load_weights(tmp_path / "head.weights.h5")
        inputs = [vectors * 7 + 3, np.ones((2, 4), bool)]
        assert np.asarray(again(inputs)["logit"]) == pytest.approx(np.asarray(trained(inputs)["logit"]), abs=1e-6)
