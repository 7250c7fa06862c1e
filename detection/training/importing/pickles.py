"""A pickle is executed code. It is opened here and nowhere else: in a process that is thrown away, in the cage of
:func:`detection.engine.confinement.enclose`, and what comes out of it is data (a Keras configuration and arrays).

Program: ``python -m detection.training.importing.pickles FILE`` writes an ``.npz`` to its standard output.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import joblib
import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from detection.engine.confinement import enclose
from detection.engine.wire import Bounds

BOUNDS: Final = Bounds(memory=16 << 30, seconds=600)  # addresses, of which TensorFlow alone takes a few GB; seconds
TOLERANCE: Final = 1e-3  # in probability, between what was pickled and what it was rebuilt as
_ACTIVATIONS: Final = {
    "identity": "linear",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
}
KINDS: Final = (
    "Keras models, LogisticRegression, SGDClassifier with log_loss, MLPClassifier, and pipelines of these behind "
    "StandardScaler, MinMaxScaler or PCA"
)


class CannotRebuild(Exception):  # noqa: N818  (reads as a sentence where it is raised)
    """There is no network for what the pickle holds. The message says what it is."""


def unpickle(path: Path) -> Any:
    """The ``keras.Model`` that stands for what is pickled in ``path``. Its code runs in another process.

    Raises:
        CannotRebuild: it is something else, or could not be opened.
    """
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        # A session of its own: without a terminal that it could type into.
        done = subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=BOUNDS.seconds,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotRebuild(f"opening it took longer than {BOUNDS.seconds} seconds") from error
    said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
    if done.returncode:  # what was raised stands in the last line, also if it was raised by the pickle's own code
        raise CannotRebuild(said[-1].removeprefix("CannotRebuild: "))
    try:
        model, classes = from_data(done.stdout)
    except (zipfile.BadZipFile, EOFError) as error:
        raise CannotRebuild("it wrote something else than a network while it was opened") from error
    if classes:
        print(f"  its classes, in the order of its values: {', '.join(map(ascii, classes))}")
        print(f"  a high value stands for {classes[1]!a}" if len(classes) == 2 else "  --index counts them from 0")
    return model


def main(path: Path, answer: BinaryIO) -> None:
    """Open the pickle and write what it holds as data. From the first line on this process can do little else."""
    with path.open("rb") as file:
        try:
            enclose(BOUNDS)
        except OSError as error:
            raise CannotRebuild(f"it cannot be opened safely: {error.strerror}") from error
        found = joblib.load(file)  # also reads plain pickles: its own format is one with the arrays between
    model = found if isinstance(found, keras.Model) else rebuild(found)
    if model is not found:
        compare(found, model)
    answer.write(as_data(model, [str(name) for name in getattr(found, "classes_", ())]))


def as_data(model: Any, classes: Sequence[str] = ()) -> bytes:
    """A ``keras.Model`` as ``.npz``: its configuration, its weights and the classes that scikit-learn knows it by."""
    data = io.BytesIO()
    arrays = {f"weight{i}": array for i, array in enumerate(model.get_weights())}
    config = {"model": keras.saving.serialize_keras_object(model), "classes": list(classes)}
    np.savez(data, config=np.array(json.dumps(config)), **arrays)
    return data.getvalue()


def from_data(data: bytes) -> tuple[Any, list[str]]:
    """The model again, and its classes. Nothing in it is run: raises ValueError for a Lambda layer or other code."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        config = json.loads(str(arrays["config"]))
        model = keras.saving.deserialize_keras_object(config["model"], safe_mode=True)
        model.set_weights([arrays[f"weight{i}"] for i in range(len(arrays.files) - 1)])
    return model, [str(name) for name in config["classes"]]


def rebuild(found: Any) -> Any:
    """A ``keras.Model`` that computes what a scikit-learn classifier of flattened RGB pixels does.

    Raises:
        CannotRebuild: there are no layers for this kind, or its features are no square picture.
    """
    steps = [step for _, step in found.steps] if isinstance(found, Pipeline) else [found]
    features = int(getattr(steps[0], "n_features_in_", 0))
    side = math.isqrt(features // 3)
    if 3 * side * side != features or not side:
        raise CannotRebuild(f"{type(found).__name__} takes {features} values, which are no square RGB picture")
    layers, weights = [keras.layers.Flatten()], []
    for step in steps:
        made, arrays = _layers_of(step)
        layers += made
        weights += arrays
    model = keras.Sequential([keras.Input((side, side, 3)), *layers])
    model.set_weights(weights)
    return model


def compare(found: Any, model: Any) -> None:
    """Raises CannotRebuild if the network does not give what it stands for, on pixels of either usual range."""
    pixels = np.random.default_rng(1).random((8, *model.input_shape[1:]), np.float32)
    pixels[4:] *= 255
    theirs = found.predict_proba(pixels.reshape(8, -1))
    ours = np.asarray(model(pixels, training=False))
    greatest = float(np.abs(ours - (theirs[:, 1:] if ours.shape[1] == 1 else theirs)).max())
    if not greatest < TOLERANCE:
        raise CannotRebuild(f"rebuilt as a network it answers otherwise, by up to {greatest:.4f}")


def _layers_of(step: Any) -> tuple[list[Any], list[Any]]:
    for kind, build in _BUILDERS.items():
        if type(step) is kind:
            return build(step)
    raise CannotRebuild(f"{type(step).__name__} cannot be rebuilt as a network; {KINDS} can")


def _linear(step: Any) -> tuple[list[Any], list[Any]]:
    if isinstance(step, SGDClassifier) and step.loss != "log_loss":
        raise CannotRebuild(f"SGDClassifier with {step.loss} gives no probability")
    return _dense(step.coef_.T, step.intercept_, "sigmoid" if len(step.coef_) == 1 else "softmax")


def _perceptron(step: Any) -> tuple[list[Any], list[Any]]:
    names = [step.activation] * (len(step.coefs_) - 1) + [step.out_activation_]
    parts = [_dense(*part) for part in zip(step.coefs_, step.intercepts_, names, strict=True)]
    return [layer for layers, _ in parts for layer in layers], [array for _, arrays in parts for array in arrays]


def _principal(step: Any) -> tuple[list[Any], list[Any]]:
    turned = step.components_.T
    if step.whiten:
        turned = turned / np.sqrt(step.explained_variance_)
    return _dense(turned, -step.mean_ @ turned, "identity")


def _standard(step: Any) -> tuple[list[Any], list[Any]]:
    size = step.n_features_in_
    mean = np.zeros(size) if step.mean_ is None else step.mean_
    return _scaled(mean, np.ones(size) if step.scale_ is None else step.scale_)


def _between(step: Any) -> tuple[list[Any], list[Any]]:
    if step.clip:
        raise CannotRebuild("MinMaxScaler with clip cannot be rebuilt as a network")
    return _scaled(-step.min_ / step.scale_, 1 / step.scale_)


def _scaled(mean: Any, scale: Any) -> tuple[list[Any], list[Any]]:
    """(x - mean) / scale. Not by Normalization, which would want its numbers in the configuration."""
    layer = keras.layers.BatchNormalization(center=False, scale=False, epsilon=0.0)
    return [layer], [np.asarray(mean, np.float32), np.square(np.asarray(scale, np.float32))]


def _dense(kernel: Any, bias: Any, activation: str) -> tuple[list[Any], list[Any]]:
    layer = keras.layers.Dense(len(bias), activation=_ACTIVATIONS.get(activation, activation))
    return [layer], [np.asarray(kernel, np.float32), np.asarray(bias, np.float32)]


_BUILDERS: Final[dict[type, Callable[[Any], tuple[list[Any], list[Any]]]]] = {
    LogisticRegression: _linear,
    SGDClassifier: _linear,
    MLPClassifier: _perceptron,
    PCA: _principal,
    StandardScaler: _standard,
    MinMaxScaler: _between,
}


if __name__ == "__main__":
    # What a pickle prints shall not get between.
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        try:
            main(Path(sys.argv[1]), answer)
        except CannotRebuild as error:
            sys.exit(f"CannotRebuild: {error}")
