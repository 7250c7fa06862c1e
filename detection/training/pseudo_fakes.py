"""Manipulated faces made from real ones.

Self-blended images (Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", arXiv 2204.08376),
written anew from the paper's description: a face is blended with a slightly changed copy of itself, so the
only thing to learn is that two parts of one picture disagree. Masks come from the five landmarks.
"""

from __future__ import annotations

import cv2
import numpy as np

from detection.engine.preprocessing import LEFT_EYE, MOUTH, NOSE, RIGHT_EYE, face_scale
from detection.engine.types import FloatArray, RGBImage
from detection.training.augment import blur_or_sharpen, resize_chain


def face_mask(shape: tuple[int, int], landmarks: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A soft mask (height, width), float32 0..1, over the whole face or a part of it."""
    eyes = (landmarks[RIGHT_EYE] + landmarks[LEFT_EYE]) / 2
    down = landmarks[MOUTH] - eyes
    unit = face_scale(landmarks)
    angle = float(np.degrees(np.arctan2(down[1], down[0])) - 90)
    centre, width, height = _region(eyes, down, landmarks, rng)
    mask = np.zeros(shape, np.float32)
    wobble = rng.uniform(0.85, 1.15, 2)
    axes = (max(2, round(width * unit * wobble[0])), max(2, round(height * unit * wobble[1])))
    cv2.ellipse(mask, (round(float(centre[0])), round(float(centre[1]))), axes, angle, 0, 360, 1.0, -1)
    return _soften(mask, unit, rng)


def _region(
    eyes: FloatArray, down: FloatArray, landmarks: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, float, float]:
    """Centre in pixels and half axes in face units: whole face, lower face, mouth, eyes or nose."""
    kind = rng.choice(5, p=[0.5, 0.15, 0.15, 0.1, 0.1])
    if kind == 0:
        return eyes + 0.5 * down, 0.95, 1.25
    if kind == 1:
        return eyes + 0.95 * down, 0.8, 0.7
    if kind == 2:
        return landmarks[MOUTH], 0.5, 0.32
    if kind == 3:
        return eyes, 0.85, 0.32
    return landmarks[NOSE] - 0.1 * down, 0.36, 0.5


def _soften(mask: FloatArray, unit: float, rng: np.random.Generator) -> FloatArray:
    """Bend the outline with an elastic warp, then feather it."""
    height, width = mask.shape
    offsets = rng.uniform(-1, 1, (2, height, width)).astype(np.float32)
    sigma = max(2.0, unit * 0.12)
    dx, dy = (cv2.GaussianBlur(o, (0, 0), sigma) * sigma * unit * 0.12 for o in offsets)
    grid_y, grid_x = np.mgrid[:height, :width].astype(np.float32)
    warped = cv2.remap(mask, grid_x + dx, grid_y + dy, cv2.INTER_LINEAR)
    feather = float(unit * np.exp(rng.uniform(np.log(0.02), np.log(0.25))))
    return np.asarray(cv2.GaussianBlur(warped, (0, 0), max(0.5, feather)), np.float32)


def change_statistics(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Change colour and frequency content slightly: the trace of another origin."""
    gains = rng.uniform(0.9, 1.1) * rng.uniform(0.95, 1.05, 3)
    changed = np.clip(image * gains + rng.uniform(-12, 12, 3), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        return resize_chain(changed, rng, low=48)
    return blur_or_sharpen(changed, rng)


def _shift(image: RGBImage, unit: float, rng: np.random.Generator) -> RGBImage:
    """Move and scale by a few per cent: the trace of an imperfect alignment."""
    height, width = image.shape[:2]
    scale = float(rng.uniform(0.96, 1.04))
    rotation = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-2, 2)), scale)
    matrix = np.asarray(rotation, np.float64)
    matrix[:, 2] += rng.uniform(-0.06, 0.06, 2) * unit
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def self_blend(image: RGBImage, landmarks: FloatArray, rng: np.random.Generator) -> tuple[RGBImage, RGBImage]:
    """Return ``(real, fake)`` of the same shape as ``image``.

    The real one carries the same change of statistics whenever the target was the one changed: blur or
    colour by themselves are no sign of manipulation.
    """
    source, target = image, image
    if rng.random() < 0.5:
        source = change_statistics(source, rng)
    else:
        target = change_statistics(target, rng)
    source = _shift(source, face_scale(landmarks), rng)
    ratio = float(rng.choice([0.25, 0.5, 0.75, 1.0, 1.0, 1.0]))
    mask = face_mask((image.shape[0], image.shape[1]), landmarks, rng)[..., None] * ratio
    fake = source * mask + target * (1 - mask)
    return target, np.clip(fake + 0.5, 0, 255).astype(np.uint8)
