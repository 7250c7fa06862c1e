"""What happens to a picture between the camera and us, applied to real and manipulated faces alike.

Every function takes and returns RGB uint8 and draws from the generator that it is given, so one draw can be
replayed on both members of a pair.
"""

from __future__ import annotations

import cv2
import numpy as np

from detection.engine.preprocessing import crop_box, extract
from detection.engine.types import Box, FloatArray, RGBImage


def jpeg(image: RGBImage, quality: int, *, chroma_halved: bool = True) -> RGBImage:
    """One round of JPEG compression at ``quality`` 1..100."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if chroma_halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded a line above
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def resize_chain(image: RGBImage, rng: np.random.Generator, low: int = 96) -> RGBImage:
    """Shrink to a random size and come back: what a small upload or a video call does.

    It also evens out that real faces are smaller than manipulated ones in most collections.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    if side <= low:
        return image
    factor = float(np.exp(rng.uniform(np.log(low / side), 0.0)))
    small = (max(8, round(width * factor)), max(8, round(height * factor)))
    down = rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC])
    up = rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])
    shrunk = cv2.resize(image, small, interpolation=int(down))
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=int(up)), np.uint8)


def colour(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Brightness, contrast and white balance; now and then no colour at all."""
    gains = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    shifted = image.astype(np.float32) * gains + rng.uniform(-20, 20)
    if rng.random() < 0.05:
        shifted = np.repeat(shifted.mean(axis=2, keepdims=True), 3, axis=2)
    return np.clip(shifted, 0, 255).astype(np.uint8)


def noise(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Sensor noise, sigma 1 to 8 levels, half of the time the same in all channels."""
    channels = 1 if rng.random() < 0.5 else 3
    grain = rng.normal(0, rng.uniform(1, 8), (*image.shape[:2], channels))
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def blur_or_sharpen(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """Defocus or motion blur, or the unsharp mask that phones and sites apply."""
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.6))), np.uint8)
    if kind == 1:
        length = int(rng.integers(2, 6))
        kernel = np.ones((1, length), np.float32) / length
        return np.asarray(cv2.filter2D(image, -1, kernel if rng.random() < 0.5 else kernel.T), np.uint8)
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 2.0)))
    amount = float(rng.uniform(0.2, 1.0))
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), np.uint8)


def degrade(image: RGBImage, rng: np.random.Generator) -> RGBImage:
    """A random chain of degradations, of which a round of JPEG is the most likely part."""
    if rng.random() < 0.3:
        image = colour(image, rng)
    if rng.random() < 0.15:
        image = blur_or_sharpen(image, rng)
    if rng.random() < 0.35:
        image = resize_chain(image, rng)
    if rng.random() < 0.1:
        image = noise(image, rng)
    if rng.random() < 0.6:
        # A shift of the picture moves the 8x8 grid of the last compression against that of this one.
        dy, dx = (int(v) for v in rng.integers(0, 8, 2))
        image = np.roll(image, (dy, dx), (0, 1))
        image = jpeg(image, int(rng.integers(40, 98)), chroma_halved=bool(rng.random() < 0.8))
        image = np.roll(image, (-dy, -dx), (0, 1))
    return image


def jittered_crop_box(landmarks: FloatArray, margin: float, rng: np.random.Generator) -> Box:
    """The serving crop, moved by up to 5 % and scaled by up to 10 %: face detectors disagree by as much."""
    box = crop_box(landmarks, margin * float(np.exp(rng.uniform(-0.1, 0.1))))
    dx, dy = (round(float(v) * box.width) for v in rng.uniform(-0.05, 0.05, 2))
    return Box(box.left + dx, box.top + dy, box.right + dx, box.bottom + dy)


def training_crop(
    image: RGBImage, landmarks: FloatArray, *, margin: float, size: int, rng: np.random.Generator
) -> RGBImage:
    """Degrade, cut, mirror: what one training step sees of one face. Returns (size, size, 3)."""
    box = jittered_crop_box(landmarks, margin, rng)
    degraded = degrade(image, rng)
    crop = extract(degraded, box, size)
    if rng.random() < 0.5:
        crop = np.ascontiguousarray(crop[:, ::-1])
    return crop
