"""MobileNetV2 read at three depths, beside a high-pass branch, with an evidence map: the shipped classifier.

Backbone: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv 1801.04381. What stands on it:
:mod:`.evidence_map`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from detection.engine.networks import evidence_map
from detection.engine.networks.backbones import keep_statistics

# Layer, its stride and the width that it is brought to, from fine to coarse.
DEPTHS = (("block_6_expand_relu", 8, 48), ("block_13_expand_relu", 16, 96), ("out_relu", 32, 96))


def build(
    input_size: int,
    *,
    alpha: float = 1.0,
    dropout: float = 0.3,
    weights: Path | None = None,
    residual: bool = True,
) -> Any:
    """Return a functional ``keras.Model``; see :func:`.evidence_map.build`.

    Args:
        input_size: pixels, a multiple of 32.
        alpha: width multiplier of the backbone.
        dropout: rate on whole feature channels, training only.
        weights: ``.weights.h5`` of ``keras.applications.MobileNetV2(include_top=False)`` to start from.
        residual: whether the high-pass branch is there.
    """
    read = _backbone(input_size, alpha, weights)
    return evidence_map.build("mobilenetv2", read, DEPTHS, input_size, dropout=dropout, residual=residual)


def _backbone(input_size: int, alpha: float, weights: Path | None) -> Any:
    backbone = keras.applications.MobileNetV2(
        input_shape=(input_size, input_size, 3), alpha=alpha, include_top=False, weights=None
    )
    if weights is not None:
        backbone.load_weights(weights)
    keep_statistics(backbone)  # the published weights carry it folded: gamma 1, mean 0, variance 1
    return keras.Model(backbone.input, [backbone.get_layer(name).output for name, *_ in DEPTHS], name="backbone")
