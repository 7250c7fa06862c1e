"""What scores face crops, whatever runs it: see :mod:`detection.engine.runtimes`."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from detection.engine.types import FloatArray


class Prediction(NamedTuple):
    logits: FloatArray  # (n,) positive argues for manipulation
    evidence: FloatArray | None  # (n, h, w) its mean over h and w is the logit; None: the network gives no map


class Classifier(Protocol):
    """Scores face crops: uint8 RGB (n, size, size, 3) in, one :class:`Prediction` out.

    ``batch_size`` is how many it likes to have at once.
    """

    batch_size: int

    def predict(self, crops: NDArray[np.uint8]) -> Prediction: ...
