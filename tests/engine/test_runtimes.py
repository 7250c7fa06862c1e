"""A model gives the same scores whatever runs it, and what runs it is chosen by model and machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from detection.engine import runtimes
from detection.engine.adapters import Adapter
from detection.engine.errors import ModelError
from detection.engine.networks import mesonet
from detection.engine.registry import ModelSpec, check_files
from detection.engine.runtimes import tensorflow
from detection.engine.runtimes.litert import LiteRTClassifier
from detection.engine.runtimes.tensorflow import TensorFlowClassifier
from detection.training.importing import conversion
from detection.training.importing.questions import Answers, Options
from detection.training.importing.sources import Foreign, open_source
from tests.engine.builders import lively_weights

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = 32
TOLERANCE = 1e-3  # of a probability, as the README says
BGR = Adapter("bgr", "-1..1", "probability", "real", 1)


def written(folder: Path, model, adapter: Adapter | None) -> ModelSpec:
    """The model as ``import_model`` writes it."""
    folder.mkdir()
    source = folder.with_suffix(".keras")
    model.save(source)
    foreign: Foreign = open_source(source, family=None, input_size=None, trusted=False)
    files = conversion.write_files(foreign, source, SIDE, folder, "auto")
    answers = Answers(SIDE, 2.76, adapter, 0.5, 0.5)
    return conversion.describe(Options("a", "1"), answers, foreign, files)


@pytest.fixture(scope="module")
def softmax(tmp_path_factory) -> ModelSpec:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])
    return written(tmp_path_factory.mktemp("models") / "softmax", model, BGR)


@pytest.fixture(scope="module")
def native(tmp_path_factory) -> ModelSpec:
    model = mesonet.meso4(SIDE)
    lively_weights(model, np.random.default_rng(1))
    return written(tmp_path_factory.mktemp("models") / "native", model, None)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (11, SIDE, SIDE, 3)).astype(np.uint8)


def probabilities(classifier, crops: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-classifier.predict(crops).logits))


@pytest.mark.parametrize("name", ["softmax", "native"])
def test_both_give_the_same_scores(request, name, crops):
    spec = request.getfixturevalue(name)
    check_files(spec)
    ours, theirs = (runtimes.load(spec, runtime=runtime) for runtime in ("litert", "tensorflow"))
    assert isinstance(ours, LiteRTClassifier)
    assert isinstance(theirs, TensorFlowClassifier)
    scores = probabilities(ours, crops)
    assert scores.shape == (11,)
    assert np.ptp(scores) > 10 * TOLERANCE
    assert scores == pytest.approx(probabilities(theirs, crops), abs=TOLERANCE)


def test_an_adapted_score_is_the_networks_own(softmax, crops):
    model = keras.saving.load_model(softmax.tensorflow.path)
    real = np.asarray(model(crops[..., ::-1] / np.float32(127.5) - 1))[:, 1]
    assert probabilities(runtimes.load(softmax), crops) == pytest.approx(1 - real, abs=TOLERANCE)


def test_a_network_without_a_map_gives_none(softmax, native, crops):
    for spec in (softmax, native):
        for runtime in ("litert", "tensorflow"):
            assert runtimes.load(spec, runtime=runtime).predict(crops[:1]).evidence is None


@pytest.mark.parametrize("batch", [1, 4, 32])
def test_the_size_of_a_batch_changes_no_score(softmax, crops, batch):
    classifier = TensorFlowClassifier(softmax)
    expected = classifier.predict(crops).logits
    classifier.batch_size = batch
    assert classifier.predict(crops).logits == pytest.approx(expected, abs=1e-4)


def test_a_single_face_does_not_cost_a_whole_batch(softmax, crops):
    classifier = TensorFlowClassifier(softmax)
    classifier.batch_size = 32
    network, sizes = classifier._network, []
    classifier._network = lambda pixels: (sizes.append(len(pixels)), network(pixels))[1]
    for count in (1, 3, 11):
        assert len(classifier.predict(crops[:count]).logits) == count
    assert sizes == [1, 4, 16]


def test_a_batch_that_does_not_fit_is_not_chosen():
    asked = []

    def answers(crops: np.ndarray) -> None:
        asked.append(len(crops))
        if len(crops) > 1:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory is left")

    assert tensorflow._fastest(answers, SIDE) == 1
    assert asked == [1, 1, 4]


def test_whole_numbers_cannot_hold_a_range_from_0_to_1(tmp_path):
    crops = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(crops))
    model = keras.Model(crops, keras.layers.Dense(1, activation="sigmoid")(flat))
    spec = written(tmp_path / "whole", model, Adapter())
    for runtime in ("litert", "tensorflow"):
        assert runtimes.load(spec, runtime=runtime)
        with pytest.raises(ModelError, match=r"uint8 cannot be 0\.\.1"):
            runtimes.load(replace(spec, adapter=Adapter(scale="0..1")), runtime=runtime)


@pytest.mark.parametrize(
    ("litert", "tensorflow", "card", "wish", "chosen"),
    [
        (True, True, False, "auto", "litert"),
        (True, True, True, "auto", "tensorflow"),
        (True, False, True, "auto", "litert"),
        (False, True, False, "auto", "tensorflow"),
        (True, True, False, "tensorflow", "tensorflow"),
        (True, True, True, "litert", "litert"),
        (True, False, False, "tensorflow", "litert"),
        (False, True, False, "litert", "tensorflow"),
    ],
)
def test_what_runs_a_model(softmax, monkeypatch, litert, tensorflow, card, wish, chosen):
    monkeypatch.setattr(runtimes, "graphics_card", lambda: card)
    spec = softmax if litert else replace(softmax, path=softmax.tensorflow.path)
    spec = spec if tensorflow else replace(spec, tensorflow=None)
    assert type(runtimes.load(spec, runtime=wish)).__name__.lower() == f"{chosen}classifier"


def test_a_device_alone_is_no_card_before_tensorflow_sees_it(monkeypatch, tmp_path):
    monkeypatch.setattr(runtimes, "_CARDS", (tmp_path / "none",))
    assert not runtimes.graphics_card()
    monkeypatch.setattr(runtimes, "_CARDS", (tmp_path,))
    assert runtimes.graphics_card() == bool(tf.config.list_physical_devices("GPU"))


def test_without_tensorflow_a_model_that_needs_it_says_what_is_missing(softmax, monkeypatch):
    monkeypatch.setattr(runtimes, "_PLUGIN", "detection.engine.runtimes.not_installed")
    assert runtimes.load(softmax)
    with pytest.raises(ModelError, match=r"requirements-training\.txt"):
        runtimes.load(replace(softmax, path=softmax.tensorflow.path))


def test_a_file_that_is_no_network_is_a_coded_error(softmax, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="cannot be run"):
        TensorFlowClassifier(replace(softmax, tensorflow=replace(softmax.tensorflow, path=path)))


def test_what_takes_pictures_of_another_size_is_a_coded_error(softmax):
    with pytest.raises(ModelError):
        LiteRTClassifier(replace(softmax, input_size=48))
    with pytest.raises(ModelError):
        TensorFlowClassifier(replace(softmax, input_size=48))


def test_a_quantised_network_is_spoken_to_in_its_own_numbers(softmax, crops, tmp_path):
    """Whole numbers in and out, as networks for phones have them."""
    model = keras.saving.load_model(softmax.tensorflow.path)
    model.export(tmp_path / "exported", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "exported"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([BGR.pixels(crop[None])] for crop in crops)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path = tmp_path / "model.tflite"
    path.write_bytes(converter.convert())
    scores = probabilities(LiteRTClassifier(replace(softmax, path=path)), crops)
    assert scores == pytest.approx(probabilities(LiteRTClassifier(softmax), crops), abs=0.05)
