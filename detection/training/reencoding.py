"""What is left of a face that a network or a renderer has drawn anew: softer, repetitive or patterned texture.

Each step keeps the picture's shape and what it shows, and changes how it is made up of frequencies.
"""

from __future__ import annotations

import cv2
import numpy as np

from detection.engine.types import FloatArray, RGBImage
from detection.training.degradations import BORDER, jpeg2000, resize_round, to_uint8, webp

KERNELS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)


def reencode(image: RGBImage, unit: float, rng: np.random.Generator) -> RGBImage:
    """A face as a small decoder would give it back: one or two of the changes below, at random.

    Args:
        image: RGB uint8 (height, width, 3).
        unit: the face unit in pixels; a face is about 2.2 of them wide.
        rng: draws what is done and how strongly.
    """
    for _ in range(int(rng.choice([1, 2], p=[0.65, 0.35]))):
        match int(rng.choice(6, p=[0.34, 0.1, 0.1, 0.18, 0.14, 0.14])):
            case 0:
                image = _from_small(image, unit, rng)
            case 1:
                image = jpeg2000(image, int(rng.integers(15, 60)))
            case 2:
                image = webp(image, int(rng.integers(5, 50)))
            case 3:
                image = _smoothed(image, rng)
            case 4:
                image = _without_fine_texture(image, rng)
            case _:
                image = upsampled(image, rng)
    return image


def _from_small(image: RGBImage, unit: float, rng: np.random.Generator) -> RGBImage:
    """Drawn with a face 40 to 160 pixels wide and enlarged with some kernel."""
    width = float(np.exp(rng.uniform(np.log(40), np.log(160))))
    factor = min(0.9, width / (2.2 * unit))
    return resize_round(image, factor, int(rng.choice(KERNELS[1:])), int(rng.choice(KERNELS[1:])))


def _smoothed(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    kind, strength = int(rng.integers(3)), float(rng.uniform())
    if kind == 0:
        return np.asarray(cv2.medianBlur(image, 3 if strength < 0.7 else 5), np.uint8)
    if kind == 1:
        return np.asarray(cv2.bilateralFilter(image, 5, 15 + 45 * strength, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.5 + 1.1 * strength), np.uint8)


def _without_fine_texture(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Weak detail is dropped, strong edges stay: soft thresholding of what a blur takes away."""
    threshold, gain = float(rng.uniform(2, 9)), float(rng.uniform(0.9, 1.3))
    base = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 2.5)))
    detail = image.astype(np.float32) - base
    kept = detail - np.clip(detail, -threshold, threshold)
    return to_uint8(base + np.float32(gain) * kept)


def upsampled(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Halved and enlarged as transposed convolutions do: zeros put between the pixels, then a small filter that
    does not quite even them out. That leaves a copy of the spectrum at the edges of it and a faint checkerboard."""
    height, width = image.shape[:2]
    small = cv2.resize(image, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    sparse = np.zeros((small.shape[0] * 2, small.shape[1] * 2, 3), np.float32)
    sparse[::2, ::2] = small
    ideal = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 4
    uneven = ideal * np.exp(rng.normal(0, 0.08, (3, 3))).astype(np.float32)
    even = uneven * np.float32(4 / uneven.sum())  # brightness stays, evenness does not
    filled = cv2.filter2D(sparse, -1, even, borderType=BORDER)[:height, :width]
    detail, base = np.float32(rng.uniform(0.0, 0.6)), cv2.GaussianBlur(image, (0, 0), 1.0)
    return to_uint8(filled + detail * (image.astype(np.float32) - base))


def with_pattern(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Inject a faint periodic pattern, 1 to 4.5 levels strong: the peaks that generators leave in the spectrum.

    Waves at whole fractions of the sampling frequency, in one channel or all, and stronger where there is texture.
    """
    height, width = image.shape[:2]
    period = int(rng.choice([2, 4, 8, 16], p=[0.35, 0.35, 0.2, 0.1]))
    channels = np.ones(3) if rng.random() < 0.6 else rng.uniform(0, 1, 3)
    tile = rng.standard_normal((period, period)).astype(np.float32)
    if rng.random() < 0.5:  # a lattice rather than a texture
        ys, xs = np.mgrid[:period, :period]
        tile = (np.cos(2 * np.pi * xs / period) + np.cos(2 * np.pi * ys / period)).astype(np.float32)
    tile -= tile.mean()
    tile *= np.float32(rng.uniform(1.0, 4.5)) / max(float(tile.std()), 1e-3)
    pattern = np.tile(tile, (height // period + 1, width // period + 1))[:height, :width]
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    busy = cv2.blur(np.abs(cv2.Laplacian(luma, cv2.CV_32F)), (9, 9))
    where = np.float32(0.5) + np.minimum(busy / 12, 1.0)
    return to_uint8(image + (pattern * where)[..., None] * channels.astype(np.float32))


def with_repeated_grain(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Replace the finest detail by that of the picture enlarged pixel by pixel: texture at the wrong scale."""
    height, width = image.shape[:2]
    base = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 1.6)))
    factor = float(rng.uniform(1.6, 2.4))
    detail = image.astype(np.float32) - base
    middle = detail[: int(height / factor) + 1, : int(width / factor) + 1]
    grain: FloatArray = np.asarray(cv2.resize(middle, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)
    # Only as much of it as there was detail: flat walls stay flat.
    local = cv2.blur(np.abs(detail), (7, 7)) / (cv2.blur(np.abs(grain), (7, 7)) + 0.5)
    return to_uint8(base + grain * np.minimum(local, 1.5).astype(np.float32))
