"""A picture of what the augmentation makes, to be looked at before a night of training is spent on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from detection.engine.types import FloatArray, RGBImage
from detection.training.augment import training_crop
from detection.training.datasets import Sample
from detection.training.pseudo_fakes import KINDS, Blend, Donor, make_pair

COLUMNS = ("real", "fake", "mask", "change x4", "degraded real", "degraded fake")


def contact_sheet(
    samples: Sequence[Sample],
    meshes: Mapping[str, FloatArray],
    rng: np.random.Generator,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    rows: int = 2,
    size: int = 192,
    margin: float = 2.9,
) -> RGBImage:
    """Draw pairs of every kind, two across.

    Args:
        samples: faces to draw from; only real ones are used.
        meshes: by ``str(sample.path)``, see :func:`~detection.training.mesh.find_meshes`.
        rng: draws faces and choices.
        kinds: names out of :data:`~detection.training.pseudo_fakes.KINDS`.
        rows: lines per kind, of two pairs each.
        size: side of a picture in pixels.
        margin: of the degraded crops; the others are shown as they lie on the disk.

    Returns:
        RGB uint8 of ``len(kinds) * rows`` lines, each six pictures for each of two pairs.
    """
    reals = [sample for sample in samples if sample.label == 0]
    lines = [
        np.hstack([_pair_tiles(reals, meshes, rng, kind, size, margin) for _ in range(2)])
        for kind in kinds
        for _ in range(rows)
    ]
    return np.vstack(lines)


def _pair_tiles(
    reals: Sequence[Sample],
    meshes: Mapping[str, FloatArray],
    rng: np.random.Generator,
    kind: str,
    size: int,
    margin: float,
) -> RGBImage:
    target, lender = (reals[int(i)] for i in rng.integers(len(reals), size=2))
    donor = Donor(lender.load(), lender.landmarks, meshes.get(str(lender.path)))
    blend = make_pair(target.load(), target.landmarks, meshes.get(str(target.path)), rng, donor, {kind: 1.0})
    replay = int(rng.integers(2**32))
    crops = [
        training_crop(picture, target.landmarks, margin=margin, size=size, rng=np.random.default_rng(replay))[0]
        for picture in (blend.real, blend.fake)
    ]
    tiles = [*(_fitted(picture, size) for picture in _explained(blend)), *crops]
    return np.hstack([_labelled(tile, f"{kind}: {name}") for tile, name in zip(tiles, COLUMNS, strict=True)])


def _explained(blend: Blend) -> tuple[RGBImage, RGBImage, RGBImage, RGBImage]:
    grey = np.repeat((255 * blend.mask).astype(np.uint8)[..., None], 3, axis=2)
    change = cv2.convertScaleAbs(cv2.absdiff(blend.real, blend.fake), alpha=4)
    return blend.real, blend.fake, grey, np.asarray(change, np.uint8)


def _fitted(picture: RGBImage, size: int) -> RGBImage:
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    tile = np.zeros((size, size, 3), np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small
    return tile


def _labelled(tile: RGBImage, text: str) -> RGBImage:
    tile = tile.copy()
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 120), 1)):
        cv2.putText(tile, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, thickness, cv2.LINE_AA)
    return tile
