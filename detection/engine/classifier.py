"""Runs a registered network on face crops."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from detection.engine.errors import ModelError
from detection.engine.registry import ModelSpec
from detection.engine.types import FloatArray


class Prediction(NamedTuple):
    logits: FloatArray  # (n,) positive argues for manipulation
    evidence: FloatArray  # (n, h, w) its mean over h and w is the logit


class Classifier(Protocol):
    """Scores face crops: uint8 RGB (n, size, size, 3) in, one :class:`Prediction` out."""

    def predict(self, crops: NDArray[np.uint8]) -> Prediction: ...


class LiteRTClassifier:
    """A ``.tflite`` file on the CPU, through LiteRT (XNNPACK).

    One crop is one call: on a CPU a batch costs as much per picture as single pictures do, and a fixed
    shape lets XNNPACK plan its memory once. Not safe to share between threads.
    """

    def __init__(self, spec: ModelSpec, *, threads: int = 2) -> None:
        try:
            self._interpreter = Interpreter(model_path=str(spec.path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"The weights of model {spec.name!r} cannot be run: {error}") from error
        shape = (1, spec.input_size, spec.input_size, 3)
        (crops,) = self._interpreter.get_input_details()
        if tuple(crops["shape"]) != shape or crops["dtype"] != np.uint8:
            raise ModelError(f"Model {spec.name!r} does not take uint8 crops of shape {shape}.")
        outputs = {len(detail["shape"]): detail["index"] for detail in self._interpreter.get_output_details()}
        if set(outputs) != {2, 3}:
            raise ModelError(f"Model {spec.name!r} must give a logit (1, 1) and an evidence map (1, h, w).")
        self._crops, self._logit, self._evidence = crops["index"], outputs[2], outputs[3]

    def predict(self, crops: NDArray[np.uint8]) -> Prediction:
        """Score ``crops``, uint8 RGB of shape (n, input_size, input_size, 3)."""
        logits, maps = [], []
        for crop in crops:
            self._interpreter.set_tensor(self._crops, crop[None])
            self._interpreter.invoke()
            logits.append(self._interpreter.get_tensor(self._logit)[0, 0])
            maps.append(self._interpreter.get_tensor(self._evidence)[0])
        return Prediction(np.array(logits, np.float32), np.stack(maps).astype(np.float32))
