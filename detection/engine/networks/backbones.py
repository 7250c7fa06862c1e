"""Published image networks as feature extractors: what the frame families and the sequence family start from.

``keras.applications`` has each of them; here are the pixels that each of them was trained on, so that uint8 RGB goes
in everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import keras

# A ``.weights.h5`` of the network without its top, or "imagenet": Keras fetches it, which needs the network.
Weights: TypeAlias = Path | Literal["imagenet"] | None

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, RGB, 0..1


class Backbone(NamedTuple):
    """How a published network is built and what it takes."""

    build: Callable[..., Any]
    normalise: Callable[[Any], Any]  # float32 0..255 RGB to what it was trained on
    smallest: int  # pixels of a side


def _centred(pixels: Any) -> Any:
    """-1..1."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(pixels)


def _efficient(pixels: Any) -> Any:
    """0..255, spread about ImageNet's mean by 1 / sqrt(deviation): EfficientNet carries the rest of its normalisation.

    The published weights want that factor, and Keras puts it into the network only where it fetches them itself. The
    factor is no weight, so such a network, saved and built again without them, would silently be another one.
    """
    factors = [1 / sqrt(deviation) for deviation in _DEVIATION]
    offset = [255 * mean * (1 - factor) for mean, factor in zip(_MEAN, factors, strict=True)]
    return keras.layers.Rescaling(factors, offset=offset, name="normalise")(pixels)


def _caffe(pixels: Any) -> Any:
    """BGR, less the means of ImageNet: ResNet's published weights were once trained in Caffe."""
    return keras.layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="normalise")(pixels[..., ::-1])


BACKBONES = {
    "mobilenetv2": Backbone(keras.applications.MobileNetV2, _centred, 32),  # arXiv 1801.04381
    "efficientnetb0": Backbone(keras.applications.EfficientNetB0, _efficient, 32),  # arXiv 1905.11946
    "inceptionv3": Backbone(keras.applications.InceptionV3, _centred, 75),  # arXiv 1512.00567
    "resnet50": Backbone(keras.applications.ResNet50, _caffe, 32),  # arXiv 1512.03385
}


def features(name: str, crops: Any, *, weights: Weights = None) -> Any:
    """The last feature map of the backbone ``name`` for ``crops``, uint8 RGB (batch, size, size, 3).

    Raises:
        ValueError: the crops are smaller than the backbone takes.
    """
    backbone = BACKBONES[name]
    size = crops.shape[1]
    if size < backbone.smallest:
        raise ValueError(f"{name} takes crops of {backbone.smallest} pixels or more, not {size}")
    shape = (size, size, 3)
    # Always built without weights, so that a run that is read back is the network that was trained.
    network = backbone.build(include_top=False, input_shape=shape, weights=None)
    if isinstance(weights, Path):
        network.load_weights(weights)
    elif weights == "imagenet":
        published = backbone.build(include_top=False, input_shape=shape, weights="imagenet")
        network.set_weights(published.get_weights())
        for layer in network.layers:
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # computes with a copy of its weights, which setting them does not renew
    if weights is not None:
        keep_statistics(network)
    return network(backbone.normalise(crops))


def keep_statistics(network: Any) -> None:
    """Have training leave the batch normalisation of ``network`` as it is.

    Statistics of small batches of faces would throw away what published weights were trained with. Each layer has to be
    told: a nested model passes `training=False` on to nobody in Keras 3.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
