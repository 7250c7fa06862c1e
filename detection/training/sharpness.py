"""Sharpness-aware minimisation (SAM, arXiv 2010.01412): look for weights whose whole neighbourhood does well.

Every batch is seen twice. Its first gradient leads ``radius`` uphill, to where the loss is worst nearby; its second,
taken there, moves the weights from where they were. Both halves lie in the optimizer, so training stays ``fit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import keras


class SharpnessAware(keras.optimizers.AdamW):
    """AdamW whose every step takes two gradients, told apart by whose turn it is: ``apply`` climbs, then steps.

    Rate, moving averages and ``iterations`` count whole steps. JAX cannot run it: there the state of an optimizer
    must not change under a condition. Tried on TensorFlow.

    Raises:
        ValueError: ``radius`` is no positive number, or Keras runs on JAX.
    """

    def __init__(self, learning_rate: Any, *, radius: float, **options: Any) -> None:
        if not radius > 0:
            raise ValueError(f"a radius is positive, not {radius}")
        if keras.backend.backend() == "jax":
            raise ValueError("sharpness-aware training does not run on JAX")
        super().__init__(learning_rate, **options)
        self.radius = radius

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self._climbs = self.add_optimizer_variables(variables, "climb")
        self._is_up = self.add_variable((), initializer="zeros", dtype="bool", name="is_up")

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        if not self.built and trainable_variables is not None:
            self.build(list(trainable_variables))
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        goes_up = keras.ops.logical_not(self._is_up)
        keras.ops.cond(goes_up, lambda: self._climb(grads, variables), lambda: self._step(grads, variables))
        self._is_up.assign(goes_up)

    def _climb(self, grads: Sequence[Any], variables: Sequence[Any]) -> None:
        norm = keras.ops.sqrt(sum(keras.ops.sum(keras.ops.square(g)) for g in grads if g is not None))
        scale = self.radius / (norm + keras.config.epsilon())
        for gradient, variable in zip(grads, variables, strict=True):
            if gradient is not None:
                climb = self._climbs[self._get_variable_index(variable)]
                climb.assign(keras.ops.multiply(gradient, scale))
                variable.assign_add(climb)

    def _step(self, grads: Sequence[Any], variables: Sequence[Any]) -> None:
        for variable in variables:
            variable.assign_sub(self._climbs[self._get_variable_index(variable)])
        super().apply(grads, variables)


class Twice(keras.utils.PyDataset):
    """Every batch of ``batches`` twice in a row; made once, whichever thread asks for it first."""

    def __init__(self, batches: keras.utils.PyDataset) -> None:
        super().__init__(workers=batches.workers, max_queue_size=batches.max_queue_size)
        self.batches = batches
        self._kept: dict[int, Any] = {}
        self._locks = [Lock() for _ in range(batches.workers)]  # neighbours are made side by side

    def __len__(self) -> int:
        return 2 * len(self.batches)

    def on_epoch_end(self) -> None:
        self._kept.clear()
        self.batches.on_epoch_end()

    def __getitem__(self, index: int) -> Any:
        number = index // 2
        with self._locks[number % len(self._locks)]:
            if number not in self._kept:
                self._kept[number] = self.batches[number]
                return self._kept[number]
            return self._kept.pop(number)
