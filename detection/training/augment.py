"""What happens to a picture between the camera and us, applied to real and manipulated faces alike.

Every function takes and returns RGB uint8 and draws from the generator that it is given. How often it draws
depends on the picture's shape alone, so one draw can be replayed on both members of a pair.
"""

from __future__ import annotations

import cv2
import numpy as np

from detection.engine.preprocessing import crop_box, extract
from detection.engine.types import Box, FloatArray, RGBImage
from detection.training.degradations import (
    BORDER,
    beautify,
    blur_or_sharpen,
    colour,
    h264,
    jpeg,
    noise,
    recapture,
    resize_chain,
    webp,
)

__all__ = [
    "blur_or_sharpen",
    "colour",
    "degrade",
    "jittered_crop_box",
    "jpeg",
    "noise",
    "resize_chain",
    "training_crop",
]

# Shares of pictures left nearly as they were, degraded as a site does it, and degraded badly.
NEARLY_UNTOUCHED, STRONG = 0.2, 0.15


def degrade(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """A random way through cameras, editors and sites: most pictures get something, a few get it badly."""
    fate = float(rng.random())
    if fate < NEARLY_UNTOUCHED:
        return jpeg(image, int(rng.integers(85, 98)), chroma_halved=bool(rng.random() < 0.6))
    strong = fate > 1 - STRONG
    for step, share in (
        (colour, 0.35),
        (beautify, 0.06),
        (blur_or_sharpen, 0.4 if strong else 0.15),
        (noise, 0.2 if strong else 0.1),
        (recapture, 0.04),
    ):
        if rng.random() < share:
            image = step(image, rng)
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))):
        image = _upload(image, rng, strong=strong)
    return image


def _upload(image: RGBImage, rng: np.random.Generator, *, strong: bool) -> RGBImage:
    """One round of resizing and compression."""
    if rng.random() < (0.6 if strong else 0.3):
        image = resize_chain(image, rng, low=100)
    kind = float(rng.random())
    # Wherever the codec's blocks lay the last time, they lie elsewhere now.
    down, right = (int(v) for v in rng.integers(0, 16, 2))
    image = np.roll(image, (down, right), (0, 1))
    if kind < 0.5:
        quality = int(rng.integers(30, 60) if strong else rng.integers(50, 97))
        image = jpeg(image, quality, chroma_halved=bool(rng.random() < 0.8))
    elif kind < 0.85:
        crf = int(rng.integers(32, 41) if strong else rng.integers(18, 34))
        dx, dy = (int(v) for v in rng.integers(-2, 3, 2))
        image = h264(image, crf, step=(dx, dy), frames=int(rng.integers(2, 4)))
    elif kind < 0.93:
        image = webp(image, int(rng.integers(25, 60) if strong else rng.integers(50, 95)))
    return np.roll(image, (-down, -right), (0, 1))


def jittered_crop_box(landmarks: FloatArray, margin: float, rng: np.random.Generator) -> Box:
    """The serving crop, moved by up to 5 % and scaled by up to 10 %: face detectors disagree by as much."""
    box = crop_box(landmarks, margin * float(np.exp(rng.uniform(-0.1, 0.1))))
    dx, dy = (round(float(v) * box.width) for v in rng.uniform(-0.05, 0.05, 2))
    return Box(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy)


def training_crop(
    image: RGBImage,
    landmarks: FloatArray,
    *,
    margin: float,
    size: int,
    rng: np.random.Generator,
    mask: FloatArray | None = None,
) -> tuple[RGBImage, FloatArray | None]:
    """Degrade, cut, mirror: what one training step sees of one face.

    Args:
        image: RGB uint8 (height, width, 3).
        landmarks: (4, 2) in its pixels.
        margin: of the crop, in face units, as in :func:`~detection.engine.preprocessing.crop_box`.
        size: side of the crop in pixels.
        rng: replay it to treat another picture of the same shape in the same way.
        mask: float32 (height, width) of what was changed; cut and mirrored along, but not degraded.

    Returns:
        The crop (size, size, 3) and, where a mask was given, its crop (size, size) float32; outside of the
        picture the mask is mirrored as the picture is.
    """
    box = jittered_crop_box(landmarks, margin, rng)
    crop = extract(degrade(image, rng), box, size)
    flip = rng.random() < 0.5
    if flip:
        crop = np.ascontiguousarray(crop[:, ::-1])
    if mask is None:
        return crop, None
    part = _extract_mask(mask, box, size)
    return crop, np.ascontiguousarray(part[:, ::-1]) if flip else part


def _extract_mask(mask: FloatArray, box: Box, size: int) -> FloatArray:
    """:func:`~detection.engine.preprocessing.extract` for one channel of floats."""
    height, width = mask.shape
    inside = mask[max(0, box.top) : min(height, box.bottom), max(0, box.left) : min(width, box.right)]
    if inside.size == 0:
        return np.zeros((size, size), np.float32)
    pads = (max(0, -box.top), max(0, box.bottom - height), max(0, -box.left), max(0, box.right - width))
    padded = cv2.copyMakeBorder(inside, *pads, borderType=BORDER)
    mode = cv2.INTER_AREA if padded.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(padded, (size, size), interpolation=mode), np.float32)
