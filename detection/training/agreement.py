"""Does the server say what training measured? The same faces through both ways, number by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine import aggregation
from detection.engine.pipeline import Pipeline
from detection.engine.preprocessing import crop_box, extract
from detection.engine.types import Face, FloatArray, RGBImage
from detection.training.datasets import Sample
from detection.training.scoring import Detector, score_faces

TOLERANCE = 1e-3
Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # crops (n, size, size, 3) -> logits (n,)


class KnownFace:
    """A face detector that is told where the one face is: what is compared is everything but finding it."""

    name = "known"

    def __init__(self) -> None:
        self.landmarks: FloatArray = np.zeros((4, 2), np.float32)

    def detect(self, image: RGBImage) -> list[Face]:
        del image
        return [Face(crop_box(self.landmarks, 2.0), self.landmarks, 1.0)]

    def follow(self, image: RGBImage, faces: Sequence[Face]) -> list[Face]:
        del faces
        return self.detect(image)


def with_engine(samples: Sequence[Sample], detector: Detector, *, number: int = 100) -> dict[str, Any]:
    """Largest difference of the scores between ``score_faces`` and the engine's pipeline on the same files."""
    chosen = _spread(samples, number)
    where = KnownFace()
    pipeline = Pipeline(spec=detector.spec, classifier=detector.classifier, face_detector=where)
    served = []
    for sample in chosen:
        where.landmarks = sample.landmarks
        served.append(pipeline.run(sample.path).tracks[0].scores[0].logit)
    return _compared(score_faces(chosen, detector).logits, np.array(served, np.float32), detector)


def with_network(
    samples: Sequence[Sample], detector: Detector, network: Network, *, number: int = 100
) -> dict[str, Any]:
    """Largest difference between the shipped file and the network in training's own framework."""
    chosen, spec = _spread(samples, number), detector.spec
    crops = [extract(s.load(), crop_box(s.landmarks, spec.crop_margin), spec.input_size) for s in chosen]
    trained = np.asarray(network(np.stack(crops)), np.float32).reshape(-1)
    return _compared(score_faces(chosen, detector).logits, trained, detector)


def _spread(samples: Sequence[Sample], number: int) -> list[Sample]:
    """``number`` samples at even distances, so that every source is among them."""
    places = np.unique(np.linspace(0, len(samples) - 1, min(number, len(samples))).round().astype(int))
    return [samples[i] for i in places]


def _compared(ours: NDArray[np.float32], theirs: NDArray[np.float32], detector: Detector) -> dict[str, Any]:
    scores = [np.array([aggregation.calibrate(float(z), detector.spec.image) for z in side]) for side in (ours, theirs)]
    return {
        "crops": len(ours),
        "largest_score_difference": float(np.abs(scores[0] - scores[1]).max()),
        "largest_logit_difference": float(np.abs(ours - theirs).max()),
        "within": TOLERANCE,
        "met": bool(np.abs(scores[0] - scores[1]).max() <= TOLERANCE),
    }
