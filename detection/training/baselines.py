"""The published MesoNet as a detector that the engine can run, to be scored beside ours on the same files.

It gets what it was trained on as far as that is known: 256 pixels, a square around the face as tight as a face
detector's box, and the engine's mean over the frames of a video. It has no calibration and no idea of quality,
so it never abstains and only its ranking is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine.classifier import Prediction
from detection.engine.networks import mesonet
from detection.engine.registry import ModelSpec, OperatingPoint, QualityLimits, sha256_of
from detection.training.scoring import Detector

# The longest side of YuNet's box in units of `preprocessing.face_scale`: the median over the faces in
# ../shared/data. The box's centre lies on that of `preprocessing.crop_box` to within 6 % of that unit.
CROP_MARGIN = 2.76
UNCALIBRATED = OperatingPoint(slope=1.0, intercept=0.0, suspicious=0.5, manipulated=0.5)

NETWORKS: dict[str, tuple[str, Callable[..., Any]]] = {
    "Meso4 (DF)": ("Meso4_DF.h5", mesonet.meso4),
    "MesoInception4 (DF)": ("MesoInception_DF.h5", mesonet.mesoinception4),
    "Meso4 (F2F)": ("Meso4_F2F.h5", mesonet.meso4),
    "MesoInception4 (F2F)": ("MesoInception_F2F.h5", mesonet.mesoinception4),
}


class KerasClassifier:
    """A Keras network behind the engine's ``Classifier``: for what is compared with but never served."""

    batch_size = 8

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, crops: NDArray[np.uint8]) -> Prediction:
        """Score ``crops``, uint8 RGB (n, size, size, 3). Without a map of its own, the logit is its map."""
        logits = np.asarray(self._model.predict_on_batch(crops)["logit"], np.float32)[:, 0]
        return Prediction(logits, logits[:, None, None])


def load(folder: Path, like: ModelSpec) -> dict[str, Detector]:
    """The networks whose weights lie in ``folder``, by name; ``like`` is the model they are compared with.

    Raises:
        FileNotFoundError: there is not a single one.
    """
    found = {
        name: Detector(_spec(name, folder / file, like), KerasClassifier(build(weights=folder / file)))
        for name, (file, build) in NETWORKS.items()
        if (folder / file).is_file()
    }
    if not found:
        raise FileNotFoundError(f"no MesoNet weights in {folder}")
    return found


def _spec(name: str, file: Path, like: ModelSpec) -> ModelSpec:
    return replace(
        like,
        name=name,
        version="published",
        path=file,
        sha256=sha256_of(file),
        architecture="mesonet",
        input_size=mesonet.INPUT_SIZE,
        crop_margin=CROP_MARGIN,
        image=UNCALIBRATED,
        video=UNCALIBRATED,
        quality=QualityLimits(
            min_face_size=0,
            min_sharpness=0,
            min_brightness=0,
            min_detail=0,
            min_frames=1,
            max_video_blockiness=math.inf,
            max_image_blockiness=math.inf,
        ),
    )
