"""MobileNetV2 read at two depths by linear maps: the network of our first detector, still a member of ensembles.

As :mod:`.mobilenetv2`, with the same outputs ``logit`` and ``evidence``, but without hidden layers, high-pass branch
and dense supervision: the plainest network here, and quick to train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from detection.engine.networks.backbones import keep_statistics

MIDDLE, LAST = "block_13_expand_relu", "out_relu"  # strides 16 and 32
STRIDE = 16  # of the evidence map


def build(input_size: int, *, dropout: float = 0.0, weights: Path | None = None) -> Any:
    """Return a functional ``keras.Model`` from ``crops``, uint8 RGB ``(batch, input_size, input_size, 3)``.

    Args:
        input_size: pixels, a multiple of 32.
        dropout: rate on whole feature channels, training only.
        weights: ``.weights.h5`` of ``keras.applications.MobileNetV2(include_top=False)`` to start from.
    """
    crops = keras.Input((input_size, input_size, 3), dtype="uint8", name="crops")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(crops)
    backbone = keras.applications.MobileNetV2(input_shape=(input_size, input_size, 3), include_top=False, weights=None)
    if weights is not None:
        backbone.load_weights(weights)
        keep_statistics(backbone)
    outputs = [backbone.get_layer(name).output for name in (MIDDLE, LAST)]
    middle, last = keras.Model(backbone.input, outputs, name="backbone")(scaled)
    fine = keras.layers.Conv2D(1, 1, name="fine_evidence")(keras.layers.SpatialDropout2D(dropout)(middle))
    last = keras.layers.SpatialDropout2D(dropout)(last)
    coarse = keras.layers.Conv2D(1, 1, use_bias=False, name="coarse_evidence")(last)
    coarse = keras.layers.UpSampling2D(2, interpolation="nearest")(coarse)
    side = input_size // STRIDE
    evidence = keras.layers.Reshape((side, side), name="evidence")(keras.layers.Add()([fine, coarse]))
    cells = keras.layers.Reshape((side, side, 1))(evidence)
    logit = keras.layers.GlobalAveragePooling2D(name="logit")(cells)
    return keras.Model(crops, {"logit": logit, "evidence": evidence}, name="mobilenetv2_linear")
