"""Batches of faces one by one: the plain recipe, and what a run is validated on.

No pairs, no pseudo-fakes, no face meshes: what a collection of one's own needs whose real and manipulated videos came
the same way. Where they did not, a network learns from such batches how each class was made; see
:mod:`detection.training.batches`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from detection.engine.networks.evidence_map import STRIDE
from detection.engine.preprocessing import crop_box, extract
from detection.engine.types import RGBImage
from detection.training.augment import jittered_crop_box
from detection.training.batches import Pool, Recipe
from detection.training.datasets import Sample
from detection.training.degradations import colour, jpeg

Batch = tuple[NDArray[np.uint8], dict[str, Any], dict[str, Any]]


class LightFaces(keras.utils.PyDataset):
    """``(crops, targets, weights)`` as :class:`~detection.training.batches.FacePairs`: half real, half manipulated,
    moved, mirrored, sometimes recoloured and compressed anew.

    Batch ``i`` of epoch ``e`` depends on seed, ``e`` and ``i`` alone.
    """

    def __init__(self, samples: Sequence[Sample], recipe: Recipe, *, first_epoch: int = 0) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self.recipe, self.epoch = recipe, first_epoch
        self.pools = (
            Pool([s for s in samples if s.label == 0], recipe.real_weights),
            Pool([s for s in samples if s.label == 1], recipe.fake_weights),
        )

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.recipe.seed, self.epoch, index])
        labels = np.arange(self.recipe.batch_size) % 2
        crops = [self._crop(self.pools[label].draw(rng), rng) for label in labels]
        return batch(crops, labels, self.recipe)

    def _crop(self, sample: Sample, rng: np.random.Generator) -> RGBImage:
        picture = sample.load()
        box = jittered_crop_box(sample.landmarks, self.recipe.crop_margin, rng)
        if rng.random() < 0.3:
            picture = colour(picture, rng)
        if rng.random() < 0.5:
            picture = jpeg(picture, int(rng.integers(50, 97)), chroma_halved=True)
        crop = extract(picture, box, self.recipe.input_size)
        return np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop


class PlainFaces(keras.utils.PyDataset):
    """Every sample once, in order, as serving cuts it."""

    def __init__(self, samples: Sequence[Sample], recipe: Recipe) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self.samples, self.recipe = samples, recipe

    def __len__(self) -> int:
        return -(-len(self.samples) // self.recipe.batch_size)

    def __getitem__(self, index: int) -> Batch:
        part = self.samples[index * self.recipe.batch_size :][: self.recipe.batch_size]
        crops = list(serving_crops(part, self.recipe.crop_margin, self.recipe.input_size))
        return batch(crops, np.array([s.label for s in part]), self.recipe)


def serving_crops(samples: Sequence[Sample], margin: float, size: int) -> Iterator[RGBImage]:
    """The crops that the engine would cut out of ``samples``."""
    for sample in samples:
        yield extract(sample.load(), crop_box(sample.landmarks, margin), size)


def batch(crops: Sequence[RGBImage], labels: NDArray[np.int64], recipe: Recipe) -> Batch:
    """Crops and labels as Keras takes them. Which regions were changed is not known here, so they weigh nothing."""
    targets = {"logit": labels.astype(np.float32)[:, None]}
    weights = {"logit": np.ones(len(labels), np.float32)}
    if recipe.regions:
        targets["regions"] = np.zeros((len(labels), (recipe.input_size // STRIDE) ** 2), np.float32)
        weights["regions"] = np.zeros(len(labels), np.float32)
    return np.stack(crops), targets, weights
