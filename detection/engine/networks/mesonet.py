"""MesoNet: the published baseline that we compare ourselves with, and a family to train or to bring weights for.

Afchar et al., "MesoNet: a Compact Facial Video Forgery Detection Network", arXiv 1809.00888. Written from the
description in the paper; the published weights (Keras 2, weights only, HDF5) fit in unchanged. They end in a
sigmoid that says how likely a face is *real*; here the sign is turned, so that positive means manipulated as
everywhere else. It has no map of evidence: what comes after its flattened features mixes all places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

INPUT_SIZE = 256  # of the published weights
STRIDE = 32


def meso4(input_size: int = INPUT_SIZE, *, dropout: float = 0.5, weights: Path | None = None) -> Any:
    """Return Meso4 as a functional ``keras.Model``: four convolutions, 28 thousand parameters.

    Input ``crops``: uint8 RGB ``(batch, input_size, input_size, 3)``; normalisation is inside.
    Output: ``logit`` ``(batch, 1)`` float32, positive means manipulated.

    Args:
        input_size: pixels, a multiple of 32; the published weights want 256.
        dropout: training only.
        weights: published ``.h5`` file to start from.
    """
    crops, x = _normalised(input_size)
    x = _pooled(keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x), 2)
    x = _pooled(keras.layers.Conv2D(8, 5, padding="same", activation="relu")(x), 2)
    return _classified(crops, x, dropout, weights, "meso4")


def mesoinception4(input_size: int = INPUT_SIZE, *, dropout: float = 0.5, weights: Path | None = None) -> Any:
    """Return MesoInception4: Meso4 with its first two convolutions replaced by inception blocks.

    Input, output and arguments as :func:`meso4`.
    """
    crops, x = _normalised(input_size)
    x = _pooled(_inception(x, (1, 4, 4, 2)), 2)
    x = _pooled(_inception(x, (2, 4, 4, 2)), 2)
    return _classified(crops, x, dropout, weights, "mesoinception4")


def _normalised(input_size: int) -> tuple[Any, Any]:
    if input_size % STRIDE:
        raise ValueError(f"input_size must be a multiple of {STRIDE}, not {input_size}")
    crops = keras.Input((input_size, input_size, 3), dtype="uint8", name="crops")
    return crops, keras.layers.Rescaling(1 / 255, name="normalise")(crops)


def _inception(x: Any, filters: tuple[int, int, int, int]) -> Any:
    """A 1x1 convolution beside three of 3x3, dilated by 1, 2 and 3, each behind a 1x1 of its own."""
    branches = [keras.layers.Conv2D(filters[0], 1, padding="same", activation="relu")(x)]
    for dilation, width in enumerate(filters[1:], start=1):
        branch = keras.layers.Conv2D(width, 1, padding="same", activation="relu")(x)
        branch = keras.layers.Conv2D(width, 3, padding="same", dilation_rate=dilation, activation="relu")(branch)
        branches.append(branch)
    return keras.layers.Concatenate()(branches)


def _pooled(x: Any, size: int) -> Any:
    return keras.layers.MaxPooling2D(size, padding="same")(keras.layers.BatchNormalization()(x))


def _classified(crops: Any, x: Any, dropout: float, weights: Path | None, name: str) -> Any:
    """The part that both networks share, and the published weights."""
    x = _pooled(keras.layers.Conv2D(16, 5, padding="same", activation="relu")(x), 2)
    x = _pooled(keras.layers.Conv2D(16, 5, padding="same", activation="relu")(x), 4)
    x = keras.layers.Dropout(dropout)(keras.layers.Flatten()(x))
    x = keras.layers.LeakyReLU(negative_slope=0.1)(keras.layers.Dense(16)(x))
    real = keras.layers.Dense(1, name="real")(keras.layers.Dropout(dropout)(x))
    logit = keras.layers.Rescaling(-1.0, name="logit")(real)
    model = keras.Model(crops, {"logit": logit}, name=name)
    if weights is not None:
        model.load_weights(weights)
    return model
