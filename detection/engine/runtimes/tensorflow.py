"""A ``.keras`` file or a SavedModel, through TensorFlow: on a graphics card, or for what LiteRT cannot run.

Only ever looked up by name (see the package), because a server does without TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any, Final

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from detection.engine.classifier import Prediction
from detection.engine.errors import ModelError
from detection.engine.registry import ModelSpec
from detection.engine.types import FloatArray

ENDPOINT: Final = "serving_default"
_SIZES: Final = (1, 4, 8, 16, 32)  # batches that are tried; more than 32 frames of a video are seldom looked at
_WORTH: Final = 0.9  # a larger batch must bring the time of one picture down to so much of what it was
_UNREADABLE: Final[tuple[type[Exception], ...]] = (  # what Keras and TensorFlow raise about a file
    *(ValueError, TypeError, LookupError, AttributeError, ImportError, OSError, RuntimeError),
    tf.errors.OpError,
)


class TensorFlowClassifier:
    """Not safe to share between threads.

    Attributes:
        batch_size: crops that are scored at once; the one that was fastest here when the model was loaded.
    """

    def __init__(self, spec: ModelSpec, *, threads: int = 2) -> None:
        if spec.tensorflow is None:
            raise ModelError(f"Model {spec.name!r} has no file for TensorFlow.")
        graphics_cards()
        with suppress(RuntimeError):  # TensorFlow runs already: it has one pool for the process, made once
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        self._adapter = spec.adapter
        try:
            self._network, crops = open_network(spec.tensorflow.path)
            self._kind = tf.as_dtype(crops.dtype).as_numpy_dtype
            if spec.adapter is not None:
                spec.adapter.check_kind(self._kind)
            self.batch_size = 1  # also what a network with a fixed shape is asked for
            self._answers(np.zeros((1, spec.input_size, spec.input_size, 3), np.uint8))
        except _UNREADABLE as error:
            raise ModelError(f"The weights of model {spec.name!r} cannot be run: {error}") from error
        if crops.shape[0] is None:
            self.batch_size = _fastest(self._answers, spec.input_size)

    def predict(self, crops: NDArray[np.uint8]) -> Prediction:
        """Score ``crops``, uint8 RGB of shape (n, input_size, input_size, 3). Raises MemoryError."""
        size = self.batch_size
        try:
            parts = [self._answers(crops[i : i + size]) for i in range(0, len(crops), size)]
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError("the graphics card or the machine has too little memory for the network") from error
        logits = np.concatenate([part.logits for part in parts])
        maps = [part.evidence for part in parts if part.evidence is not None]
        return Prediction(logits, np.concatenate(maps) if maps else None)

    def _answers(self, crops: NDArray[np.uint8]) -> Prediction:
        # Every new shape is a new graph: the last part is filled up to a size that was tried at the start.
        missing = next((size for size in _SIZES if size >= len(crops)), len(crops)) - len(crops)
        filled = np.concatenate([crops, np.repeat(crops[-1:], missing, axis=0)]) if missing else crops
        if self._adapter is None:
            answer = self._network(filled)
            logits = np.asarray(answer["logit"], np.float32)[: len(crops), 0]
            evidence = answer.get("evidence")
            return Prediction(logits, None if evidence is None else np.asarray(evidence, np.float32)[: len(crops)])
        answer = self._network(self._adapter.pixels(filled).astype(self._kind))
        return Prediction(self._adapter.logits(only_value(answer)[: len(crops)]), None)


def open_network(path: Path) -> tuple[Callable[[Any], Any], Any]:
    """What runs a batch, and the tensor that it takes (``dtype`` and ``shape``).

    Code in a file is not run: ``safe_mode`` refuses the Lambda layers of a ``.keras``. Raises what Keras raises.
    """
    if path.is_dir():
        layer = keras.layers.TFSMLayer(path, call_endpoint=ENDPOINT)
        _, specs = layer.call_endpoint_fn.structured_input_signature
        (crops,) = specs.values()
        return layer, crops
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    (crops,) = model.inputs
    return tf.function(lambda pixels: model(pixels, training=False)), crops


def only_value(answer: Any) -> FloatArray:
    """The one thing that a network of others gives, (n, values). Raises ValueError if there are several."""
    values = tf.nest.flatten(answer)
    if len(values) != 1:
        raise ValueError(f"the network gives {len(values)} answers, not one")
    return np.asarray(values[0], np.float32).reshape(len(values[0]), -1)


def _fastest(answers: Callable[[NDArray[np.uint8]], Prediction], side: int) -> int:
    """The smallest batch from which on a larger one hardly makes a picture cheaper, or does not fit any more."""
    best, least = 1, float("inf")
    for size in _SIZES:
        crops = np.zeros((size, side, side, 3), np.uint8)
        try:
            answers(crops)  # builds the graph
            start = perf_counter()
            answers(crops)
        except tf.errors.OpError:  # too little memory, or no network for batches of this size
            break
        seconds = (perf_counter() - start) / size
        if seconds > least * _WORTH:
            break
        best, least = size, seconds
    return best


@lru_cache(maxsize=1)
def graphics_cards() -> tuple[str, ...]:
    """Names of the cards that TensorFlow sees. From here on it takes their memory bit by bit, to share it."""
    cards = tf.config.list_physical_devices("GPU")
    for card in cards:
        with suppress(RuntimeError):  # training has it in use already
            tf.config.experimental.set_memory_growth(card, True)  # noqa: FBT003  (TensorFlow's own signature)
    return tuple(card.name for card in cards)
