"""MobileNetV2 with an evidence map: the first classifier that Veriframe ships.

Backbone: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv 1801.04381.
Explanation: class activation mapping, Zhou et al., arXiv 1512.04150, turned round: the map comes first
and the logit is its mean, so the explanation is the decision and needs no gradient pass.

Two depths are read. Middle layers (stride 16) keep the fine texture in which blending shows, the last
one (stride 32) sees the whole face; linear probes on frozen features favoured the middle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

MIDDLE_LAYER = "block_13_expand_relu"  # stride 16
LAST_LAYER = "out_relu"  # stride 32


def build(input_size: int, *, alpha: float = 1.0, dropout: float = 0.3, weights: Path | None = None) -> Any:
    """Return a functional ``keras.Model``.

    Input ``crops``: uint8 RGB ``(batch, input_size, input_size, 3)``; normalisation is inside.
    Outputs: ``logit`` ``(batch, 1)`` and ``evidence`` ``(batch, input_size/16, input_size/16)`` float32,
    where ``logit == mean(evidence)`` and positive means manipulated.

    Args:
        input_size: pixels, a multiple of 32.
        alpha: width multiplier of the backbone.
        dropout: rate on whole feature channels, training only.
        weights: ``.weights.h5`` of ``keras.applications.MobileNetV2(include_top=False)`` to start from.
    """
    if input_size % 32:
        raise ValueError(f"input_size must be a multiple of 32, not {input_size}")
    crops = keras.Input((input_size, input_size, 3), dtype="uint8", name="crops")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(crops)
    backbone = keras.applications.MobileNetV2(
        input_shape=(input_size, input_size, 3), alpha=alpha, include_top=False, weights=None
    )
    if weights is not None:
        backbone.load_weights(weights)
    features = keras.Model(
        backbone.input,
        [backbone.get_layer(MIDDLE_LAYER).output, backbone.get_layer(LAST_LAYER).output],
        name="backbone",
    )
    # Batch normalisation stays as it is: the published weights carry it folded (gamma 1, mean 0, variance 1),
    # so batch statistics would throw the pre-training away. `training=False` on the call does not reach the
    # layers of a nested model in Keras 3; `trainable = False` on the layers themselves does.
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    middle, last = features(scaled)
    middle = keras.layers.SpatialDropout2D(dropout)(middle)
    last = keras.layers.SpatialDropout2D(dropout)(last)
    fine = keras.layers.Conv2D(1, 1, name="fine_evidence")(middle)
    coarse = keras.layers.Conv2D(1, 1, use_bias=False, name="coarse_evidence")(last)
    coarse = keras.layers.UpSampling2D(2, interpolation="nearest")(coarse)
    side = input_size // 16
    evidence = keras.layers.Reshape((side, side), name="evidence")(keras.layers.Add()([fine, coarse]))
    flat = keras.layers.Reshape((side, side, 1))(evidence)
    logit = keras.layers.GlobalAveragePooling2D(name="logit")(flat)
    return keras.Model(crops, {"logit": logit, "evidence": evidence}, name="mobilenetv2")
