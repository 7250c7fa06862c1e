"""Frame features, then a recurrent network over time: the sequence family.

A published image network turns every face of a video into a vector; two gated recurrent units (Cho et al.,
arXiv 1406.1078) read the vectors in order. Frames that a short video does not have are masked. After Güera and Delp,
"Deepfake Video Detection Using Recurrent Neural Networks", AVSS 2018. The image network is not trained along, so
its features are computed once a frame and a run takes minutes.
"""

from __future__ import annotations

from typing import Any

import keras

from detection.engine.networks.backbones import Weights, features


def frame_features(backbone: str, input_size: int, *, weights: Weights = None) -> Any:
    """Return a ``keras.Model`` from ``crops``, uint8 RGB ``(batch, input_size, input_size, 3)``, to the mean of the
    backbone's last feature map, float32 ``(batch, width)``.

    Args:
        backbone: a key of :data:`~detection.engine.networks.backbones.BACKBONES`.
        input_size: pixels; InceptionV3 takes 75 or more.
        weights: of the backbone without its top.
    """
    crops = keras.Input((input_size, input_size, 3), dtype="uint8", name="crops")
    pooled = keras.layers.GlobalAveragePooling2D(name="features")(features(backbone, crops, weights=weights))
    return keras.Model(crops, pooled, name=f"{backbone}_features")


def build(frames: int, width: int, *, units: int = 16, dropout: float = 0.4) -> Any:
    """Return the recurrent head, a functional ``keras.Model``.

    Inputs: ``features``, float32 ``(batch, frames, width)``, and ``mask``, bool ``(batch, frames)``, true where
    there is a frame. Output: ``logit``, float32 ``(batch, 1)``; positive means manipulated.

    Args:
        frames: that a sequence holds at most.
        width: of a frame's features.
        units: of the first recurrent layer; the second has half as many.
        dropout: training only.
    """
    vectors = keras.Input((frames, width), name="features")
    mask = keras.Input((frames,), dtype="bool", name="mask")
    x = keras.layers.Normalization(name="normalise")(vectors)  # adapted to the training set before training
    x = keras.layers.GRU(units, return_sequences=True)(x, mask=mask)
    x = keras.layers.GRU(max(1, units // 2))(x, mask=mask)
    x = keras.layers.Dropout(dropout)(x)
    return keras.Model([vectors, mask], {"logit": keras.layers.Dense(1, name="logit")(x)}, name="sequence")
