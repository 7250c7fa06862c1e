"""Manipulated faces made from real ones.

Written anew from the papers' descriptions: self-blended images (Shiohara and Yamasaki, arXiv 2204.08376), blends
of two faces (Li et al., "Face X-ray", arXiv 1912.13458), region blends for lip-sync and reenactment, re-rendered
mouths, and patterns in the spectrum for faces that a generator drew as a whole. What they share: the member of a
pair that is called real went through the same picture-wide changes, so only an inconsistency *inside* a picture,
or the trace of a generator, tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from detection.engine.preprocessing import face_scale
from detection.engine.types import FloatArray, RGBImage
from detection.training import degradations as steps
from detection.training.distractors import Distraction, distract
from detection.training.masks import face_mask, outline_of
from detection.training.reencoding import reencode, upsampled, with_pattern, with_repeated_grain
from detection.training.warps import change_expression, misfit, shift, warp_to

# Half of the blends are at full strength.
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)

# Two meshes less alike than this (see warps.misfit) are of different poses: no swap would join them.
MAX_MISFIT = 0.065

# A fake that differs by fewer levels than this on average, where it differs, is none: compression hides it.
VISIBLE = 1.6

HULLS = ("hull", "hull-no-forehead", "inner", "components", "half")


class Donor(NamedTuple):
    """Another real face that lends its pixels."""

    image: RGBImage
    landmarks: FloatArray  # (4, 2)
    mesh: FloatArray | None = None  # (468, 2)


class Blend(NamedTuple):
    """A pair of pictures of one shape, RGB uint8, and where and how much the second was changed.

    ``mask`` is float32 (height, width), 0 (as in ``real``) to 1 (replaced), already times the blend ratio; all 1
    where the whole picture was drawn anew and all 0 for a pair of negatives, whose ``fake`` equals its ``real``.
    """

    real: RGBImage
    fake: RGBImage
    mask: FloatArray

    @property
    def manipulated(self) -> bool:
        """Whether ``fake`` deserves its name: False for negatives."""
        return bool(self.mask.max() > 0)


@dataclass(frozen=True, slots=True)
class Scene:
    """The face that is to be manipulated, and what may be used for it."""

    image: RGBImage
    landmarks: FloatArray
    mesh: FloatArray | None
    donor: Donor | None

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]

    @property
    def unit(self) -> float:
        return face_scale(self.landmarks)

    def mask(self, rng: np.random.Generator, *families: str) -> FloatArray:
        return face_mask(self.shape, self.landmarks, rng, self.mesh, families or None)


def make_pair(
    image: RGBImage,
    landmarks: FloatArray,
    mesh: FloatArray | None,
    rng: np.random.Generator,
    donor: Donor | None = None,
    kinds: Mapping[str, float] | None = None,
) -> Blend:
    """Make a manipulated face, and the real one that it is to be told from, out of a real picture.

    Args:
        image: RGB uint8 (height, width, 3).
        landmarks: (4, 2) as in :class:`~detection.engine.types.Face`.
        mesh: (468, 2) from :mod:`detection.training.mesh`; ellipses stand in where there is none.
        rng: makes all choices; the same state gives the same pair.
        donor: another face. Kinds that need one become self-blends without it, or if its pose does not fit.
        kinds: share of each kind, names as in :data:`KINDS`; :data:`DEFAULT_KINDS` if not given.

    Raises:
        KeyError: ``kinds`` names an unknown kind.
    """
    shares = DEFAULT_KINDS if kinds is None else kinds
    names = list(shares)
    weights = np.array([shares[name] for name in names], np.float64)
    maker = KINDS[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
    scene = Scene(image, landmarks, mesh, donor)
    blend = maker(scene, rng)
    for another in (maker, maker, self_blend):
        if not blend.manipulated or _visible(blend):
            break
        blend = another(scene, rng)
    return _distracted(blend, scene, rng)


def _visible(blend: Blend) -> bool:
    inside = blend.mask > 0.2
    change = cv2.absdiff(blend.real, blend.fake)[inside]
    return bool(change.size and change.mean() >= VISIBLE)


def mix(target: RGBImage, source: RGBImage, mask: FloatArray) -> RGBImage:
    """``source`` where ``mask`` is 1, ``target`` untouched where it is 0."""
    ys, xs = np.nonzero(mask.max(axis=1))[0], np.nonzero(mask.max(axis=0))[0]
    mixed = target.copy()
    if len(ys):
        part = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        base = target[part].astype(np.float32)
        mixed[part] = steps.to_uint8(base + (source[part] - base) * mask[part][..., None])
    return mixed


def change_statistics(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Change colour and frequency content slightly: the trace of another origin."""
    image = _tinted(image, rng)
    match int(rng.choice(6, p=[0.34, 0.26, 0.12, 0.1, 0.08, 0.1])):
        case 0:  # as in the paper, but by any factor and with any pair of kernels
            down = int(rng.choice([cv2.INTER_NEAREST, cv2.INTER_AREA, cv2.INTER_LINEAR]))
            return steps.resize_round(image, float(1 / np.exp(rng.uniform(0.2, 1.3))), down, cv2.INTER_LINEAR)
        case 1:
            return steps.blur_or_sharpen(image, rng)
        case 2:
            return steps.jpeg(image, int(rng.integers(30, 85)))
        case 3:
            return steps.h264(image, int(rng.integers(20, 38)), frames=2)
        case 4:
            return steps.noise(image, rng, 1.5, 7.0)
        case _:
            return image


def _tinted(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Shift red, green and blue, hue and saturation, brightness and contrast by amounts that can just be seen."""
    strength = float(rng.choice([0.0, 0.5, 1.0], p=[0.15, 0.35, 0.5]))
    shifts = rng.uniform(-14, 14, 3) * (rng.random() < 0.4)
    hue, saturation = float(rng.uniform(-5, 5)), float(rng.uniform(-18, 18))
    gain, offset = float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-12, 12))
    if strength == 0:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    levels = np.arange(256, dtype=np.float32)
    tables = np.stack([(levels + hue * strength) % 180, levels + saturation * strength, levels], axis=1)
    tables[0, 1] = 0  # grey has no hue: saturating it would paint it red
    turned = cv2.cvtColor(cv2.LUT(hsv, steps.to_uint8(tables)[None]), cv2.COLOR_HSV2RGB)
    lifted = levels[:, None] * (1 + gain * strength) + strength * (offset + shifts)
    return np.asarray(cv2.LUT(turned, steps.to_uint8(lifted.astype(np.float32))[None]), np.uint8)


def transfer_colour(source: RGBImage, target: RGBImage, mask: FloatArray, rng: np.random.Generator) -> RGBImage:
    """Give ``source`` the colours that ``target`` has under ``mask``: mean and spread of each Lab channel
    (Reinhard et al. 2001), or the means only."""
    inside = (mask > 0.5).astype(np.uint8)
    means_only, share = rng.random() < 0.35, float(rng.uniform(0.7, 1.0))
    if not inside.any():
        return source
    source_lab, target_lab = (cv2.cvtColor(picture, cv2.COLOR_RGB2LAB) for picture in (source, target))
    mean, spread = (v.ravel() for v in cv2.meanStdDev(source_lab, mask=inside))
    new_mean, new_spread = (v.ravel() for v in cv2.meanStdDev(target_lab, mask=inside))
    gain = np.ones(3) if means_only else np.clip(new_spread / np.maximum(spread, 1.0), 0.5, 2.0)
    levels = np.arange(256, dtype=np.float64)[:, None]
    tables = levels + share * ((levels - mean) * gain + new_mean - levels)
    moved = cv2.LUT(source_lab, steps.to_uint8(tables.astype(np.float32))[None])
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_LAB2RGB), np.uint8)


# --- kinds ----------------------------------------------------------------------------------------------------


def self_blend(scene: Scene, rng: np.random.Generator) -> Blend:
    """A face blended with a slightly changed copy of itself: all there is to see is that two parts disagree."""
    source, target = _source_and_target(scene.image, rng)
    source = shift(source, scene.unit, rng)
    mask = scene.mask(rng) * np.float32(rng.choice(RATIOS))
    return Blend(target, mix(target, source, mask), mask)


def _source_and_target(image: RGBImage, rng: np.random.Generator) -> tuple[RGBImage, RGBImage]:
    if rng.random() < 0.5:
        return change_statistics(image, rng), image
    return image, change_statistics(image, rng)


def _donated(scene: Scene, rng: np.random.Generator) -> RGBImage | None:
    """The donor's face where the target's is, or None where the two do not fit."""
    donor = scene.donor
    if donor is None:
        return None
    points, target = donor.landmarks, scene.landmarks
    if donor.mesh is not None and scene.mesh is not None:
        points, target = donor.mesh, scene.mesh
    if misfit(points, target) > MAX_MISFIT:
        return None
    wobble = rng.normal(0, 0.012 * scene.unit, target.shape).astype(np.float32)
    return warp_to(donor.image, points, target + wobble, scene.shape)


def cross_blend(scene: Scene, rng: np.random.Generator) -> Blend:
    """Another person's face, warped onto the target's and given its colours."""
    donated = _donated(scene, rng)
    if donated is None:
        return self_blend(scene, rng)
    target = change_statistics(scene.image, rng) if rng.random() < 0.25 else scene.image
    mask = scene.mask(rng, *(HULLS if rng.random() < 0.75 else ("eyes", "nose", "mouth", "lower")))
    source = transfer_colour(donated, target, mask, rng)
    if rng.random() < 0.5:
        source = reencode(source, scene.unit, rng) if rng.random() < 0.5 else change_statistics(source, rng)
    mask = mask * np.float32(rng.choice(RATIOS[2:]))
    return Blend(target, mix(target, source, mask), mask)


def poisson_blend(scene: Scene, rng: np.random.Generator) -> Blend:
    """Gradients instead of colours are taken over (Perez et al. 2003): no seam is left, only other gradients."""
    donated = _donated(scene, rng)
    target = scene.image
    source = shift(change_statistics(target, rng), scene.unit, rng) if donated is None else donated
    family = str(rng.choice(["hull", "hull-no-forehead", "inner", "eyes", "nose", "mouth", "lower"]))
    outline = outline_of(family, scene.shape, scene.landmarks, rng, scene.mesh)
    outline[:3], outline[-3:], outline[:, :3], outline[:, -3:] = 0, 0, 0, 0  # the method needs a rim of target
    ys, xs = np.nonzero(outline)
    if len(ys) < 50:
        return self_blend(scene, rng)
    mode = cv2.MIXED_CLONE if rng.random() < 0.15 else cv2.NORMAL_CLONE
    middle = (int(xs.min() + xs.max() + 1) // 2, int(ys.min() + ys.max() + 1) // 2)
    cloned = np.asarray(cv2.seamlessClone(source, target, outline.astype(np.uint8) * 255, middle, mode), np.uint8)
    mask = np.asarray(cv2.GaussianBlur(outline, (0, 0), 0.03 * scene.unit + 0.5), np.float32)
    return Blend(target, mix(target, cloned, mask), mask)


def boundary_blend(scene: Scene, rng: np.random.Generator) -> Blend:
    """Only the seam is blended: inside and outside are one picture, so nothing but the seam gives it away."""
    whole = scene.mask(rng, "hull", "hull-no-forehead", "inner", "lower")
    width = 2 * int(scene.unit * float(rng.uniform(0.02, 0.12)) / 2) + 3
    band = cv2.dilate(4 * whole * (1 - whole), np.ones((width, width), np.uint8))
    mask = np.asarray(np.clip(cv2.blur(band, (width, width)), 0, 1), np.float32)
    source, target = _source_and_target(scene.image, rng)
    return Blend(target, mix(target, shift(source, scene.unit, rng), mask), mask)


def reenact(scene: Scene, rng: np.random.Generator) -> Blend:
    """Mouth and what surrounds it put into another expression and rendered anew, a little softer than the rest."""
    target = change_statistics(scene.image, rng) if rng.random() < 0.3 else scene.image
    moved = change_expression(target, scene.landmarks, scene.mesh, rng)
    rendered = rng.random() < 0.85
    if rendered:
        moved = reencode(moved, scene.unit, rng)
    if rng.random() < 0.5:
        moved = _tinted(moved, rng)
    # What was only moved differs around the mouth alone, and so must the mask.
    local = not rendered or rng.random() < 0.6
    families = ("mouth", "lower") if local else ("hull", "hull-no-forehead", "inner", "lower")
    mask = scene.mask(rng, *families) * np.float32(rng.choice(RATIOS[2:]))
    return Blend(target, mix(target, moved, mask), mask)


def soft_part(scene: Scene, rng: np.random.Generator) -> Blend:
    """A part of the face drawn anew in place: nothing moved, only its texture is another."""
    target = change_statistics(scene.image, rng) if rng.random() < 0.3 else scene.image
    families = ("mouth", "lower", "eyes", "nose") if rng.random() < 0.6 else HULLS
    mask = scene.mask(rng, *families) * np.float32(rng.choice(RATIOS[2:]))
    return Blend(target, mix(target, reencode(target, scene.unit, rng), mask), mask)


def reencoded_face(scene: Scene, rng: np.random.Generator) -> Blend:
    """The whole face as a decoder gives it back, its texture changed twice and its pattern left in."""
    target = change_statistics(scene.image, rng) if rng.random() < 0.5 else scene.image
    drawn = reencode(target, scene.unit, rng)
    drawn = with_pattern(drawn, rng) if rng.random() < 0.5 else upsampled(drawn, rng)
    mask = scene.mask(rng, "hull", "hull-no-forehead", "inner")
    return Blend(target, mix(target, drawn, mask), mask)


def synthesise(scene: Scene, rng: np.random.Generator) -> Blend:
    """The picture as a whole carries a generator's pattern.

    Half of the time the real member is softened as well, by ordinary resizing: softness is no sign of a generator.
    """
    target = scene.image
    if rng.random() < 0.5:
        target = steps.resize_round(target, float(rng.uniform(0.45, 0.95)), cv2.INTER_AREA, cv2.INTER_CUBIC)
    makers = (with_pattern, upsampled, with_repeated_grain)
    drawn = makers[int(rng.choice(3, p=[0.5, 0.35, 0.15]))](target, rng)
    if rng.random() < 0.3:
        drawn = with_pattern(drawn, rng)
    return Blend(target, drawn, np.ones(scene.shape, np.float32))


def negative(scene: Scene, rng: np.random.Generator) -> Blend:
    """No manipulation: twice the same picture, changed as a whole or with something harmless in front of it."""
    target = change_statistics(scene.image, rng) if rng.random() < 0.5 else scene.image
    if rng.random() < 0.5:
        target, _ = distract(target, scene.landmarks, rng)
    return Blend(target, target.copy(), np.zeros(scene.shape, np.float32))


def _distracted(blend: Blend, scene: Scene, rng: np.random.Generator) -> Blend:
    """Now and then put something harmless into both pictures: an edge by itself is no sign of manipulation."""
    if rng.random() >= DISTRACTED:
        return blend
    replay = int(rng.integers(2**32))
    pictures: list[Distraction] = [
        distract(picture, scene.landmarks, np.random.default_rng(replay)) for picture in (blend.real, blend.fake)
    ]
    left = blend.mask * (1 - pictures[0].cover)
    if left.sum() < 0.5 * blend.mask.sum():
        return blend  # most of the manipulation would be hidden
    return Blend(pictures[0].image, pictures[1].image, left)


DISTRACTED = 0.08

KINDS: Mapping[str, Callable[[Scene, np.random.Generator], Blend]] = {
    "self": self_blend,
    "cross": cross_blend,
    "poisson": poisson_blend,
    "boundary": boundary_blend,
    "reenact": reenact,
    "soft": soft_part,
    "reencoded": reencoded_face,
    "synthesis": synthesise,
    "negative": negative,
}

# Negatives are for those who look at Blend.manipulated when they label; by default every fake is one.
DEFAULT_KINDS: Mapping[str, float] = {
    "self": 0.34,
    "cross": 0.16,
    "poisson": 0.07,
    "boundary": 0.04,
    "reenact": 0.15,
    "soft": 0.12,
    "reencoded": 0.06,
    "synthesis": 0.06,
}
