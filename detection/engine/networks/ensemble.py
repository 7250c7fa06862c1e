"""Several networks as one: the mean of their calibrated log-odds, and of their maps of evidence.

Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
arXiv 1612.01474. Networks disagree most where they err, all the more if they were trained on different recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


def build(members: Sequence[Any], calibrations: Sequence[tuple[float, float]]) -> Any:
    """Return a functional ``keras.Model`` with the input and the outputs ``logit`` and ``evidence`` of its members.

    Each member's outputs are multiplied by its slope and shifted by its intercept first, so that a network whose
    logits are merely larger has no louder voice. The mean of ``evidence`` stays the ``logit``.

    Args:
        members: networks that take crops of one size and give evidence maps of one size, as :mod:`.mobilenetv2`.
        calibrations: slope and intercept of each.
    """
    sizes = {member.input_shape[1:] for member in members}
    if len(sizes) != 1:
        raise ValueError(f"the members of an ensemble must take crops of one size, not {sorted(sizes)}")
    crops = keras.Input(*sizes, dtype="uint8", name="crops")
    outputs: dict[str, list[Any]] = {"logit": [], "evidence": []}
    for i, (member, (slope, intercept)) in enumerate(zip(members, calibrations, strict=True)):
        named = keras.Model(member.input, [member.get_layer(name).output for name in outputs], name=f"member_{i}")
        for name, tensor in zip(outputs, named(crops), strict=True):
            outputs[name].append(keras.layers.Rescaling(slope, offset=intercept)(tensor))
    mean = {name: keras.layers.Average(name=name)(tensors) for name, tensors in outputs.items()}
    return keras.Model(crops, mean, name="ensemble")
