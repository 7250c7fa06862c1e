"""EfficientNetB0 as a frame classifier: the last feature map, its mean, one linear unit.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv 1905.11946.
A linear unit after a mean is a mean of linear units, so the map of evidence comes for nothing: class activation
mapping, Zhou et al., arXiv 1512.04150.
"""

from __future__ import annotations

from typing import Any

import keras

from detection.engine.networks.backbones import Weights, features

INPUT_SIZE = 224  # of the published weights
STRIDE = 32  # of the evidence map


def build(input_size: int = INPUT_SIZE, *, dropout: float = 0.2, weights: Weights = None) -> Any:
    """Return a functional ``keras.Model``.

    Input ``crops``: uint8 RGB ``(batch, input_size, input_size, 3)``; normalisation is inside.
    Outputs, float32, with ``side = input_size / 32``: ``logit`` ``(batch, 1)`` and ``evidence``
    ``(batch, side, side)``, where ``logit == mean(evidence)`` and positive means manipulated.

    Args:
        input_size: pixels, a multiple of 32.
        dropout: rate on whole feature channels, training only.
        weights: of ``keras.applications.EfficientNetB0(include_top=False)`` to start from.
    """
    if input_size % STRIDE:
        raise ValueError(f"input_size must be a multiple of {STRIDE}, not {input_size}")
    crops = keras.Input((input_size, input_size, 3), dtype="uint8", name="crops")
    x = keras.layers.SpatialDropout2D(dropout)(features("efficientnetb0", crops, weights=weights))
    cells = keras.layers.Conv2D(1, 1, name="cells")(x)
    side = input_size // STRIDE
    outputs = {
        "logit": keras.layers.GlobalAveragePooling2D(name="logit")(cells),
        "evidence": keras.layers.Reshape((side, side), name="evidence")(cells),
    }
    return keras.Model(crops, outputs, name="efficientnetb0")
