"""The frame families: which network an architecture's name stands for.

One table for training, for runs that are read back and for weights that somebody brings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from detection.engine.networks import efficientnet_lite, efficientnetb0, mesonet, mobilenetv2, mobilenetv2_linear
from detection.engine.networks.backbones import Weights

# Each takes the side of its crops in pixels, `dropout` and `weights` (MesoNet's are of the whole network, the others'
# of the backbone without its top), and returns a ``keras.Model`` with the output `logit` and, where it has them,
# `evidence` and `regions`.
FAMILIES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "mobilenetv2": mobilenetv2.build,
        "mobilenetv2-linear": mobilenetv2_linear.build,
        "efficientnet-lite0": efficientnet_lite.build,
        "efficientnetb0": efficientnetb0.build,
        "meso4": mesonet.meso4,
        "mesoinception4": mesonet.mesoinception4,
    }
)
DENSE = ("mobilenetv2", "efficientnet-lite0")  # of these that also say which cells were changed, and take `residual`
SEQUENCE = "sequence-"  # begins the architecture of a run that holds a head for frame features, not a network
FETCHED = ("efficientnetb0",)  # of these Keras knows where weights for ImageNet are to be had


def check(architecture: str) -> None:
    """Raises ValueError unless this is a frame family."""
    if architecture.startswith(SEQUENCE):
        raise ValueError(f"{architecture} can be measured (compare-sequence), but not exported, imported or served")
    if architecture not in FAMILIES:
        raise ValueError(f"there is no architecture {architecture!r}; there are: {', '.join(FAMILIES)}")


def build(architecture: str, input_size: int, *, weights: Weights = None, **options: Any) -> Any:
    """Return the ``keras.Model`` of a family.

    Args:
        architecture: a key of :data:`FAMILIES`.
        input_size: pixels, a multiple of 32.
        weights: to start from.
        options: of that network's own ``build``.

    Raises:
        ValueError: there is no such family, or it takes no such size.
    """
    check(architecture)
    if weights is not None and not isinstance(weights, Path) and architecture not in FETCHED:
        raise ValueError(f"weights of {architecture} are a file here; {weights!r} can be had for {', '.join(FETCHED)}")
    return FAMILIES[architecture](input_size, weights=weights, **options)
