"""Batches of pairs: a real face and a manipulated one that went through the same degradations by the same draw.

Pairs are what keeps a network from learning sources. Collections differ in sharpness, size and compression, and
several are one class only; within a pair only the manipulation is left to tell the two apart
(arXiv 2508.06248 reports paired real and fake faces as essential).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from detection.engine.networks.evidence_map import STRIDE
from detection.engine.preprocessing import face_scale
from detection.engine.types import FloatArray, RGBImage
from detection.training.augment import training_crop
from detection.training.datasets import Sample
from detection.training.pseudo_fakes import Donor, make_pair

# Where a manipulated picture of a collection without real ones of its own finds its partner: portraits.
PARTNERS = ("ffhq-real", "amfd-real", "scut-real", "ciplab-real")

Labelled = tuple[RGBImage, FloatArray | None, int]  # crop, what was changed of it if known, label


@dataclass(frozen=True, slots=True)
class Recipe:
    """What batches are made of."""

    input_size: int
    crop_margin: float
    batch_size: int
    steps_per_epoch: int
    seed: int
    pseudo_share: float  # of the pairs of a batch; the others are labelled data
    real_weights: Mapping[str, float]  # dataset-method -> share among the reals that pseudo-fakes start from
    fake_weights: Mapping[str, float]  # dataset-method -> share among the labelled manipulations
    kinds: Mapping[str, float] | None = None  # of pseudo-fakes; None: their own default shares
    match_resolution: bool = True
    regions: bool = True  # whether the network says which cells were changed


class FacePairs(keras.utils.PyDataset):
    """``(crops, targets, weights)``: half real, half manipulated.

    ``crops``: uint8 (batch, size, size, 3). ``targets``: ``logit`` (batch, 1) and ``regions`` (batch, cells),
    the changed share of every cell of the evidence map. ``weights``: per sample and output; the regions of
    labelled manipulations are unknown and weigh nothing.

    Batch ``i`` of epoch ``e`` depends on seed, ``e`` and ``i`` alone, so a resumed run sees what an
    uninterrupted one would have seen.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        meshes: Mapping[str, FloatArray],
        recipe: Recipe,
        *,
        first_epoch: int = 0,
        workers: int = 3,
    ) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=12)
        self.recipe, self.meshes, self.epoch = recipe, meshes, first_epoch
        reals = [s for s in samples if s.label == 0]
        self.reals = Pool(reals, recipe.real_weights)
        self.fakes = Pool([s for s in samples if s.label == 1], recipe.fake_weights)
        self.by_group: dict[str, list[Sample]] = defaultdict(list)
        self.by_dataset: dict[str, list[Sample]] = defaultdict(list)
        for sample in reals:
            self.by_group[sample.group].append(sample)
            self.by_dataset[sample.dataset].append(sample)
        self.portraits = [s for s in reals if s.origin in PARTNERS] or reals
        self._pictures: dict[str, RGBImage] = {}

    def __len__(self) -> int:
        return self.recipe.steps_per_epoch

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], dict[str, Any], dict[str, Any]]:
        rng = np.random.default_rng([self.recipe.seed, self.epoch, index])
        pairs = self.recipe.batch_size // 2
        pseudo = round(pairs * self.recipe.pseudo_share)
        faces = [
            face for i in range(pairs) for face in (self._pseudo_pair(rng) if i < pseudo else self._labelled_pair(rng))
        ]
        crops, masks, labels = zip(*faces, strict=True)
        targets = {"logit": np.array(labels, np.float32)[:, None]}
        weights = {"logit": np.ones(len(crops), np.float32)}
        if self.recipe.regions:
            targets["regions"], weights["regions"] = self._regions(masks)
        return np.stack(crops), targets, weights

    def _regions(self, masks: Sequence[FloatArray | None]) -> tuple[FloatArray, FloatArray]:
        """The changed share of every cell (batch, cells), and where that is known (batch,)."""
        side = self.recipe.input_size // STRIDE
        known = np.array([mask is not None for mask in masks], np.float32)
        regions = np.zeros((len(masks), side * side), np.float32)
        for row, mask in zip(regions, masks, strict=True):
            if mask is not None:
                row[:] = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).ravel()
        return regions, known

    def _pseudo_pair(self, rng: np.random.Generator) -> list[Labelled]:
        sample, donor = self.reals.draw(rng), self.reals.draw(rng)
        lent = Donor(self._load(donor), donor.landmarks, self._mesh(donor))
        blend = make_pair(
            self._load(sample), sample.landmarks, self._mesh(sample), rng, donor=lent, kinds=self.recipe.kinds
        )
        replay = int(rng.integers(2**32))
        nothing = np.zeros(blend.mask.shape, np.float32)
        real = self._crop(blend.real, sample.landmarks, replay, nothing)
        fake = self._crop(blend.fake, sample.landmarks, replay, blend.mask)
        return [(*real, 0), (*fake, int(blend.manipulated))]

    def _labelled_pair(self, rng: np.random.Generator) -> list[Labelled]:
        fake = self.fakes.draw(rng)
        candidates = self.by_group.get(fake.group) or self.by_dataset.get(fake.dataset) or self.portraits
        real = candidates[int(rng.integers(len(candidates)))]
        pictures = [(self._load(s), s.landmarks) for s in (real, fake)]
        if self.recipe.match_resolution:
            pictures = _at_one_scale(pictures)
        replay = int(rng.integers(2**32))
        (first, points), (second, other_points) = pictures
        nothing = np.zeros(first.shape[:2], np.float32)
        real_crop = self._crop(first, points, replay, nothing)
        return [(*real_crop, 0), (*self._crop(second, other_points, replay, None), 1)]

    def _crop(
        self, picture: RGBImage, landmarks: FloatArray, replay: int, mask: FloatArray | None
    ) -> tuple[RGBImage, FloatArray | None]:
        return training_crop(
            picture,
            landmarks,
            margin=self.recipe.crop_margin,
            size=self.recipe.input_size,
            rng=np.random.default_rng(replay),
            mask=mask,
        )

    def _load(self, sample: Sample) -> RGBImage:
        """Decoded pictures are kept: a few thousand crops are 1 to 2 GB, decoding them anew is a tenth of the work."""
        key = str(sample.path)
        if key not in self._pictures:
            self._pictures[key] = sample.load()
        return self._pictures[key]

    def _mesh(self, sample: Sample) -> FloatArray | None:
        return self.meshes.get(str(sample.path))


class Pool:
    """Samples drawn by the weight of their origin; an origin of weight 0 is left out."""

    def __init__(self, samples: Sequence[Sample], weights: Mapping[str, float]) -> None:
        origins: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            origins[sample.origin].append(sample)
        names = [name for name in sorted(origins) if weights.get(name, 1.0) > 0]
        if not names:
            raise ValueError("no sample is left to draw from")
        shares = np.array([weights.get(name, 1.0) for name in names])
        self._lists = [origins[name] for name in names]
        self._shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> Sample:
        chosen = self._lists[int(rng.choice(len(self._lists), p=self._shares))]
        return chosen[int(rng.integers(len(chosen)))]


def _at_one_scale(pictures: Sequence[tuple[RGBImage, FloatArray]]) -> list[tuple[RGBImage, FloatArray]]:
    """Shrink the larger face to the size of the smaller: real faces are smaller in most collections."""
    smallest = min(face_scale(landmarks) for _, landmarks in pictures)
    scaled = []
    for picture, landmarks in pictures:
        factor = smallest / face_scale(landmarks)
        if factor < 0.95:
            height, width = picture.shape[:2]
            size = (max(8, round(width * factor)), max(8, round(height * factor)))
            stretch = np.array([size[0] / width, size[1] / height], np.float32)
            shrunk = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
            scaled.append((shrunk, landmarks * stretch))
        else:
            scaled.append((picture, landmarks))
    return scaled
