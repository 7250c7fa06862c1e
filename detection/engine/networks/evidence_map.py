"""What stands on a backbone: its features at three depths and a high-pass branch become a map of evidence.

High-pass kernels: the rich models of Fridrich and Kodovsky (IEEE TIFS 7, 2012), fixed.
Dense supervision of the manipulated region: Li et al., "Face X-ray", arXiv 1912.13458.
Explanation: class activation mapping, Zhou et al., arXiv 1512.04150, turned round: the map comes first
and the logit is its mean, so the explanation is the decision and needs no gradient pass.

Strides 8 and 16 keep the fine texture in which blending shows, stride 32 sees the whole face; linear probes
on frozen features favoured the middle layers over the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

STRIDE = 16  # of the evidence map

Depth = tuple[str, int, int]  # a layer, its stride and the width that it is brought to


def build(name: str, backbone: Any, depths: Sequence[Depth], input_size: int, *, dropout: float, residual: bool) -> Any:
    """Return a functional ``keras.Model``.

    Input ``crops``: uint8 RGB ``(batch, input_size, input_size, 3)``; normalisation is inside.
    Outputs, float32, with ``side = input_size / 16``:
    ``logit`` ``(batch, 1)`` and ``evidence`` ``(batch, side, side)``, where ``logit == mean(evidence)`` and
    positive means manipulated; ``regions`` ``(batch, side * side)``, logits of "this cell was changed", which
    only training looks at.

    Args:
        name: of the model.
        backbone: a ``keras.Model`` from RGB of -1..1 to the features of ``depths``, from fine to coarse.
        depths: how they are read.
        input_size: pixels, a multiple of 32.
        dropout: rate on whole feature channels, training only.
        residual: whether the high-pass branch is there.

    Raises:
        ValueError: there is no such size.
    """
    if input_size % 32:
        raise ValueError(f"input_size must be a multiple of 32, not {input_size}")
    crops = keras.Input((input_size, input_size, 3), dtype="uint8", name="crops")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(crops)
    features = backbone(scaled)
    if residual:
        features = [keras.layers.Concatenate(name="fine_features")([features[0], _residual(scaled)]), *features[1:]]
    levels = [_level(tensor, *depth[1:], dropout) for tensor, depth in zip(features, depths, strict=True)]
    fused = keras.layers.Concatenate(name="fused")(levels)
    side = input_size // STRIDE
    regions = keras.layers.Conv2D(1, 1, name="region_logits")(fused)
    regions = keras.layers.Reshape((side * side,), name="regions")(regions)
    hidden = keras.layers.Conv2D(96, 1, activation="relu", name="hidden")(fused)
    hidden = keras.layers.SpatialDropout2D(dropout)(hidden)
    cells = keras.layers.Conv2D(1, 1, name="cells")(hidden)
    evidence = keras.layers.Reshape((side, side), name="evidence")(cells)
    logit = keras.layers.GlobalAveragePooling2D(name="logit")(cells)
    return keras.Model(crops, {"logit": logit, "evidence": evidence, "regions": regions}, name=name)


def _level(tensor: Any, stride: int, width: int, dropout: float) -> Any:
    """Bring one depth to its width and to the stride of the evidence map."""
    tensor = keras.layers.SpatialDropout2D(dropout)(tensor)
    tensor = keras.layers.Conv2D(width, 1, activation="relu")(tensor)
    if stride < STRIDE:
        return keras.layers.AveragePooling2D(STRIDE // stride)(tensor)
    return keras.layers.UpSampling2D(stride // STRIDE, interpolation="nearest")(tensor)


def _residual(scaled: Any) -> Any:
    """Noise and resampling traces: three fixed high-pass kernels on each channel, then a small network. Stride 8."""
    tensor = keras.layers.DepthwiseConv2D(
        5, padding="same", use_bias=False, depth_multiplier=3, trainable=False, name="high_pass"
    )
    high_pass = tensor(scaled)
    tensor.set_weights([high_pass_kernels()])
    # Truncated as in the rich models: edges of the picture must not drown its noise.
    clipped = keras.layers.ReLU(max_value=2.0, name="truncate")(keras.layers.Rescaling(8.0, offset=1.0)(high_pass))
    hidden = keras.layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(clipped)
    for width in (32, 64):
        hidden = keras.layers.SeparableConv2D(width, 3, strides=2, padding="same", activation="relu")(hidden)
    return hidden


def high_pass_kernels() -> NDArray[np.float32]:
    """The second-order, 3x3 square and 5x5 square residuals, each for three channels: (5, 5, 3, 3)."""
    line = np.zeros((5, 5), np.float32)
    line[2, 1:4] = (1, -2, 1)
    square = np.zeros((5, 5), np.float32)
    square[1:4, 1:4] = ((-1, 2, -1), (2, -4, 2), (-1, 2, -1))
    wide = np.array(
        ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1)), np.float32
    )
    kernels = np.stack([line / 2, square / 4, wide / 12], axis=-1)
    return np.repeat(kernels[:, :, None, :], 3, axis=2)
