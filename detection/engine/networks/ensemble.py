"""Several networks as one: the mean of their calibrated log-odds, and of their maps of evidence.

Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
arXiv 1612.01474. Networks disagree most where they err, all the more if they were trained on different recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def build(members: Sequence[Any], calibrations: Sequence[tuple[float, float]]) -> Any:
    """Return a functional ``keras.Model`` with the outputs ``logit`` and ``evidence`` of its members.

    It takes the crops of its largest member; the others see them scaled down. Each member's outputs are multiplied by
    its slope and shifted by its intercept, so that a network whose logits are merely larger has no louder voice.
    The mean of ``evidence`` is the ``logit``, as with every member.

    Args:
        members: networks that take square uint8 crops, as :mod:`.mobilenetv2`.
        calibrations: slope and intercept of each.
    """
    size = max(member.input_shape[1] for member in members)
    side = max(member.get_layer("evidence").output.shape[1] for member in members)
    crops = keras.Input((size, size, 3), dtype="uint8", name="crops")
    logits, maps = [], []
    for i, (member, (slope, intercept)) in enumerate(zip(members, calibrations, strict=True)):
        layers = [member.get_layer(name).output for name in ("logit", "evidence")]
        logit, evidence = keras.Model(member.input, layers, name=f"member_{i}")(_scaled(crops, member.input_shape[1]))
        calibrated = keras.layers.Rescaling(slope, offset=intercept)
        logits.append(calibrated(logit))
        maps.append(calibrated(_spread(evidence, logit, side)))
    outputs = {
        "logit": keras.layers.Average(name="logit")(logits),
        "evidence": keras.layers.Average(name="evidence")(maps),
    }
    return keras.Model(crops, outputs, name="ensemble")


def _scaled(crops: Any, size: int) -> Any:
    """Mean over areas, as the engine scales crops down: interpolation between neighbours would lose fine traces."""
    if crops.shape[1] == size:
        return crops
    weights = area_weights(crops.shape[1], size)
    rows = keras.ops.einsum("ij,bjkc->bikc", weights, keras.ops.cast(crops, "float32"))
    return keras.ops.einsum("lk,bikc->bilc", weights, rows)


def area_weights(before: int, after: int) -> NDArray[np.float32]:
    """(after, before): how much of every old pixel goes into a new one; rows sum to 1."""
    edges = np.arange(after + 1) * before / after
    pixels = np.arange(before)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.maximum(overlap, 0) * after / before, np.float32)


def _spread(evidence: Any, logit: Any, side: int) -> Any:
    """A map of (side, side) with the mean that it had: interpolation weighs the cells at the edge otherwise."""
    before = evidence.shape[1]
    if before == side:
        return evidence
    cells = keras.layers.Reshape((before, before, 1))(evidence)
    cells = keras.layers.Resizing(side, side, interpolation="bilinear")(cells)
    flat = keras.layers.Reshape((side * side,))(cells)
    mean = keras.layers.GlobalAveragePooling2D()(cells)
    moved = keras.layers.Add()([flat, keras.layers.Subtract()([logit, mean])])
    return keras.layers.Reshape((side, side))(moved)
