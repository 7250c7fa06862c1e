"""A ``.tflite`` file on the processor, through LiteRT (XNNPACK)."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from detection.engine.classifier import Prediction
from detection.engine.errors import ModelError
from detection.engine.parallel import Team
from detection.engine.registry import ModelSpec
from detection.engine.types import FloatArray

MOST_AT_ONCE = 8  # crops: as many as are reported together


class LiteRTClassifier:
    """One crop is one call: on a CPU a batch costs as much per picture as single pictures do, and a fixed shape lets
    XNNPACK plan its memory once. As many crops as there are ``threads`` are scored at the same time. Not safe to share
    between threads.
    """

    batch_size = 1

    def __init__(self, spec: ModelSpec, *, threads: int = 2) -> None:
        self._networks: Team[_Network, NDArray[np.uint8], list[NDArray[Any]]] = Team(
            [_Network(spec) for _ in range(min(threads, MOST_AT_ONCE))], _Network.answer
        )
        self._adapter = spec.adapter

    def predict(self, crops: NDArray[np.uint8]) -> Prediction:
        """Score ``crops``, uint8 RGB of shape (n, input_size, input_size, 3)."""
        answers = self._networks.do(list(crops))
        if self._adapter is not None:
            return Prediction(self._adapter.logits(np.concatenate([values for (values,) in answers])), None)
        logits = np.array([logit[0, 0] for logit, *_ in answers], np.float32)
        maps = [evidence[0] for _, *rest in answers for evidence in rest]
        return Prediction(logits, np.stack(maps).astype(np.float32) if maps else None)


class _Network:
    """One interpreter, with one thread."""

    def __init__(self, spec: ModelSpec) -> None:
        self._adapter = spec.adapter
        shape = (1, spec.input_size, spec.input_size, 3)
        try:
            self._interpreter = Interpreter(model_path=str(spec.path), num_threads=1)
            (crops,) = self._interpreter.get_input_details()
            if tuple(crops["shape"]) != shape and spec.adapter is not None:
                self._interpreter.resize_tensor_input(crops["index"], shape)  # of a file without a fixed shape
            self._interpreter.allocate_tensors()
            (self._crops,) = self._interpreter.get_input_details()
            if spec.adapter is not None and not self._crops["quantization"][0]:
                spec.adapter.check_kind(self._crops["dtype"])
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"The weights of model {spec.name!r} cannot be run: {error}") from error
        outputs = self._interpreter.get_output_details()
        if spec.adapter is None:
            self._check_native(spec, shape, outputs)
        elif tuple(self._crops["shape"]) != shape or len(outputs) != 1:
            raise ModelError(f"Model {spec.name!r} does not take pictures of shape {shape} and give one answer.")
        self._outputs = sorted(outputs, key=lambda detail: len(detail["shape"]))  # logit before evidence

    def _check_native(self, spec: ModelSpec, shape: tuple[int, ...], outputs: list[dict[str, Any]]) -> None:
        if tuple(self._crops["shape"]) != shape or self._crops["dtype"] != np.uint8:
            raise ModelError(f"Model {spec.name!r} does not take uint8 crops of shape {shape}.")
        if sorted(len(detail["shape"]) for detail in outputs) not in ([2], [2, 3]):
            raise ModelError(f"Model {spec.name!r} must give a logit (1, 1) and may give an evidence map (1, h, w).")

    def answer(self, crop: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """What it gives for one crop: logit and perhaps evidence, or the values that an adapter makes a logit of."""
        if self._adapter is None:
            return self._invoke(crop[None])
        pixels = _quantised(self._adapter.pixels(crop[None]), self._crops)
        return [_real(self._invoke(pixels)[0], self._outputs[0])]

    def _invoke(self, pixels: NDArray[Any]) -> list[NDArray[Any]]:
        self._interpreter.set_tensor(self._crops["index"], pixels)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._outputs]


def _quantised(pixels: FloatArray, detail: dict[str, Any]) -> NDArray[Any]:
    """As the tensor wants them: real numbers, whole ones, or those of a quantised network."""
    scale, zero = detail["quantization"]
    kind = detail["dtype"]
    if np.issubdtype(kind, np.floating):
        return pixels.astype(kind)
    limits = np.iinfo(kind)
    steps = pixels / scale + zero if scale else pixels
    return np.clip(np.rint(steps), limits.min, limits.max).astype(kind)


def _real(values: NDArray[Any], detail: dict[str, Any]) -> FloatArray:
    scale, zero = detail["quantization"]
    real = (values.astype(np.float32) - zero) * scale if scale else values
    return np.asarray(real, np.float32).reshape(len(values), -1)
