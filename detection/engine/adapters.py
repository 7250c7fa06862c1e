"""How a network that was not made here is spoken to: uint8 RGB crops go in, logits of manipulation come out.

Networks of other projects want their pixels in another order or range, and many say how likely a face is *real*. An
adapter is that knowledge as data, kept in the model's ``model.toml``, so that the engine treats all models alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from detection.engine.types import FloatArray

Colour = Literal["rgb", "bgr"]
Scale = Literal["0..255", "0..1", "-1..1", "imagenet"]
Output = Literal["probability", "logit"]
Positive = Literal["fake", "real"]

# Mean and deviation of ImageNet's pixels, as torchvision and keras.applications (mode "torch") use them.
_MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION: Final = np.array([0.229, 0.224, 0.225], np.float32)
_CLIP: Final = 1e-6  # a probability of exactly 0 or 1 has no logit, and one frame must not outvote all others


@dataclass(frozen=True, slots=True)
class Adapter:
    """What one network takes and gives. Raises ValueError for a word that is not known.

    Attributes:
        colour: order of the channels.
        scale: range of the pixels; ``imagenet`` is 0..1 less ImageNet's mean, over its deviation.
        output: ``probability`` (after sigmoid or softmax) or ``logit`` (before).
        positive: what a high value argues for.
        index: column that ``positive`` stands in, for a network with several; None for one with a single value.
    """

    colour: Colour = "rgb"
    scale: Scale = "0..255"
    output: Output = "probability"
    positive: Positive = "fake"
    index: int | None = None

    def __post_init__(self) -> None:
        words = {"colour": Colour, "scale": Scale, "output": Output, "positive": Positive}
        for name, allowed in words.items():
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} must be one of {', '.join(get_args(allowed))}, not {getattr(self, name)!r}")

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Adapter:
        """From a table of ``model.toml``. Raises ValueError or TypeError."""
        index = entry.get("index")
        return cls(**{**entry, "index": None if index is None else int(index)})

    def as_entry(self) -> dict[str, Any]:
        """The table of ``model.toml``, which has no word for None."""
        entry: dict[str, Any] = {
            "colour": self.colour,
            "scale": self.scale,
            "output": self.output,
            "positive": self.positive,
        }
        return entry if self.index is None else {**entry, "index": self.index}

    def check_kind(self, kind: Any) -> None:
        """Raises ValueError unless a network whose pixels are of this numpy type can be given them in ``scale``."""
        if np.issubdtype(kind, np.integer) and (self.scale != "0..255" or np.iinfo(kind).max < 255):
            raise ValueError(f"pixels of type {np.dtype(kind).name} cannot be {self.scale}")

    def pixels(self, crops: NDArray[np.uint8]) -> FloatArray:
        """What the network takes: float32 of the shape of ``crops``, uint8 RGB (n, height, width, 3)."""
        ordered = crops[..., ::-1] if self.colour == "bgr" else crops
        pixels: FloatArray = np.ascontiguousarray(ordered, np.float32)
        if self.scale == "-1..1":
            return pixels / np.float32(127.5) - np.float32(1)
        if self.scale == "0..1":
            return pixels / np.float32(255)
        if self.scale == "imagenet":
            mean, deviation = (_MEAN, _DEVIATION) if self.colour == "rgb" else (_MEAN[::-1], _DEVIATION[::-1])
            return (pixels / np.float32(255) - mean) / deviation
        return pixels

    def logits(self, values: FloatArray) -> FloatArray:
        """Logits of manipulation, float32 (n,), from what the network gave: (n,) or (n, columns).

        Raises:
            ValueError: the network gives several values and ``index`` does not name one of them.
        """
        columns = values.reshape(len(values), -1).astype(np.float64)
        if columns.shape[1] == 1:
            logits = columns[:, 0] if self.output == "logit" else _logit(columns[:, 0])
        elif self.index is None or not 0 <= self.index < columns.shape[1]:
            raise ValueError(f"index must name one of the network's {columns.shape[1]} values, not {self.index}")
        elif self.output == "logit":
            others = np.delete(columns, self.index, axis=1)
            logits = columns[:, self.index] - np.logaddexp.reduce(others, axis=1)  # softmax's own log odds
        else:
            logits = _logit(columns[:, self.index])
        return np.asarray(-logits if self.positive == "real" else logits, np.float32)


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probability, _CLIP, 1 - _CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), np.float64)
