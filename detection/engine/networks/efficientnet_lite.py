"""EfficientNet-Lite0 read at three depths, beside a high-pass branch, with an evidence map.

Tan and Le, "EfficientNet", arXiv 1905.11946; the Lite variants leave out squeeze-and-excitation, clip the activation
at 6 and keep stem and head at their width (https://github.com/tensorflow/tpu, models/official/efficientnet/lite).
They know ImageNet better than MobileNetV2 does at its cost, and run as fast on a CPU.

What stands on it: :mod:`.evidence_map`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from detection.engine.networks import evidence_map
from detection.engine.networks.backbones import keep_statistics

INPUT_SIZE = 224  # of the published weights
# Blocks of a stage, side of the depthwise kernel, stride of the first, times that it widens, channels that come out.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, TOP = 32, 1280  # channels
# Where it is read, from fine to coarse: widest just before it is halved.
DEPTHS = (("block4a_expand_activation", 8, 48), ("block6a_expand_activation", 16, 96), ("top_activation", 32, 96))


def build(input_size: int, *, dropout: float = 0.3, weights: Path | None = None, residual: bool = True) -> Any:
    """Return a functional ``keras.Model``; see :func:`.evidence_map.build`.

    Args:
        input_size: pixels, a multiple of 32.
        dropout: rate on whole feature channels, training only.
        weights: ``.weights.h5`` of :func:`backbone` to start from.
        residual: whether the high-pass branch is there.
    """
    network = backbone(input_size)
    if weights is not None:
        network.load_weights(weights)
    keep_statistics(network)
    read = keras.Model(network.input, [network.get_layer(name).output for name, *_ in DEPTHS], name="backbone")
    return evidence_map.build("efficientnet_lite0", read, DEPTHS, input_size, dropout=dropout, residual=residual)


def backbone(input_size: int) -> Any:
    """The network without its classifier: float32 RGB of -1..1 (batch, input_size, input_size, 3) to (…, 1280)."""
    pixels = keras.Input((input_size, input_size, 3), name="pixels")
    x = _convolved(pixels, STEM, 3, "stem", strides=2)
    for number, (blocks, kernel, stride, widened, channels) in enumerate(STAGES, start=1):
        for place in range(blocks):
            name = f"block{number}{'abcd'[place]}"
            x = _block(x, kernel, stride if place == 0 else 1, widened, channels, name)
    return keras.Model(pixels, _convolved(x, TOP, 1, "top"), name="efficientnet_lite0")


def _block(x: Any, kernel: int, stride: int, widened: int, channels: int, name: str) -> Any:
    """An inverted residual: widen, filter each channel, narrow without an activation."""
    before, width = x, x.shape[-1]
    if widened > 1:
        x = _convolved(x, width * widened, 1, f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_dwconv")(x)
    x = _activated(_normalised(x, f"{name}_dwconv"), f"{name}_dwconv")
    x = keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = _normalised(x, f"{name}_project")
    return keras.layers.Add(name=f"{name}_add")([before, x]) if stride == 1 and width == channels else x


def _convolved(x: Any, channels: int, kernel: int, name: str, *, strides: int = 1) -> Any:
    x = keras.layers.Conv2D(channels, kernel, strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return _activated(_normalised(x, name), name)


def _normalised(x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)


def _activated(x: Any, name: str) -> Any:
    return keras.layers.ReLU(max_value=6.0, name=f"{name}_activation")(x)
