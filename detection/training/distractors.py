"""Harmless things in front of a face that look like edits: captions, stickers, glasses, blocks, shadows."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from detection.engine.preprocessing import LEFT_EYE, RIGHT_EYE, face_scale
from detection.engine.types import FloatArray, RGBImage
from detection.training.degradations import jpeg, to_uint8

WORDS = ("LIVE", "BREAKING", "Interview", "12:45", "news", "@user", "part 2", "EXCLUSIVE", "#1", "subscribe")


class Distraction(NamedTuple):
    """The picture with something in it, and where (float32 (height, width), 1 = nothing of the face is left)."""

    image: RGBImage
    cover: FloatArray


def distract(image: RGBImage, landmarks: FloatArray, rng: np.random.Generator) -> Distraction:
    """Add one distractor. Draws do not depend on what is in the picture, so they can be replayed on a pair."""
    makers = (_caption, _sticker, _glasses, _blocks, _shadow)
    return makers[int(rng.integers(len(makers)))](image.copy(), landmarks, rng)


def _anywhere(landmarks: FloatArray, rng: np.random.Generator) -> tuple[int, int, float]:
    """A point near the face, and the face unit."""
    unit = face_scale(landmarks)
    centre = landmarks.mean(axis=0) + rng.uniform(-1.2, 1.2, 2) * unit
    return int(centre[0]), int(centre[1]), unit


def _caption(image: RGBImage, _: FloatArray, rng: np.random.Generator) -> Distraction:
    height, width = image.shape[:2]
    text = " ".join(str(word) for word in rng.choice(WORDS, int(rng.integers(1, 4))))
    size, thick = float(rng.uniform(0.3, 1.0)) * height / 250, int(rng.integers(1, 3))
    at = (int(rng.uniform(-0.1, 0.4) * width), int(rng.uniform(0.6, 0.98) * height))
    colour = [int(v) for v in rng.integers(0, 256, 3)]
    cover = np.zeros((height, width), np.uint8)
    if rng.random() < 0.5:  # on a bar
        bar = int(22 * size) + 4
        cv2.rectangle(image, (0, at[1] - bar), (width, at[1] + bar // 3), [255 - c for c in colour], -1)
        cv2.rectangle(cover, (0, at[1] - bar), (width, at[1] + bar // 3), 1, -1)
    for canvas, paint in ((image, colour), (cover, [1])):
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, paint, thick, cv2.LINE_AA)
    return Distraction(image, (cover > 0).astype(np.float32))


def _sticker(image: RGBImage, landmarks: FloatArray, rng: np.random.Generator) -> Distraction:
    """A disc or a strip of one colour with some texture: a logo, a microphone, a finger, a lock of hair."""
    height, width = image.shape[:2]
    x, y, unit = _anywhere(landmarks, rng)
    axes = tuple(max(2, int(v)) for v in rng.uniform(0.1, 0.55, 2) * unit)
    cover = np.zeros((height, width), np.float32)
    cv2.ellipse(cover, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_8)
    cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), 0.7), np.float32)
    colour = rng.uniform(20, 235, 3).astype(np.float32)
    grain = cv2.resize(rng.normal(0, 12, (12, 12)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    paint = colour + grain[..., None]
    return Distraction(to_uint8(image + (paint - image) * cover[..., None]), cover)


def _glasses(image: RGBImage, landmarks: FloatArray, rng: np.random.Generator) -> Distraction:
    unit = face_scale(landmarks)
    thick = max(1, round(unit * float(rng.uniform(0.02, 0.07))))
    colour = [int(v) for v in rng.integers(0, 90, 3)]
    radii = (max(3, int(0.34 * unit)), max(3, int(float(rng.uniform(0.2, 0.32)) * unit)))
    right, left = (tuple(int(v) for v in landmarks[i]) for i in (RIGHT_EYE, LEFT_EYE))
    slope = landmarks[LEFT_EYE] - landmarks[RIGHT_EYE]
    angle = float(np.degrees(np.arctan2(slope[1], slope[0])))
    cover = np.zeros(image.shape[:2], np.uint8)
    for canvas, paint in ((image, colour), (cover, [1])):
        for eye in (right, left):
            cv2.ellipse(canvas, eye, radii, angle, 0, 360, paint, thick, cv2.LINE_AA)
        towards = slope / max(float(np.linalg.norm(slope)), 1e-6) * radii[0]
        bridge = [tuple(int(v) for v in p) for p in (landmarks[RIGHT_EYE] + towards, landmarks[LEFT_EYE] - towards)]
        cv2.line(canvas, bridge[0], bridge[1], paint, thick, cv2.LINE_AA)
    return Distraction(image, (cover > 0).astype(np.float32))


def _blocks(image: RGBImage, landmarks: FloatArray, rng: np.random.Generator) -> Distraction:
    """A rectangle that was compressed harder than the rest, as lost packets leave it; the face shows through."""
    height, width = image.shape[:2]
    x, y, unit = _anywhere(landmarks, rng)
    half = [max(4, int(v)) for v in rng.uniform(0.15, 0.7, 2) * unit]
    quality = int(rng.integers(8, 35))
    x0, x1 = (min(max(v // 8 * 8, 0), width) for v in (x - half[0], x + half[0]))
    y0, y1 = (min(max(v // 8 * 8, 0), height) for v in (y - half[1], y + half[1]))
    if x1 - x0 > 4 and y1 - y0 > 4:
        image[y0:y1, x0:x1] = jpeg(np.ascontiguousarray(image[y0:y1, x0:x1]), quality)
    return Distraction(image, np.zeros((height, width), np.float32))


def _shadow(image: RGBImage, landmarks: FloatArray, rng: np.random.Generator) -> Distraction:
    """Light or shade with a soft edge across the face."""
    height, width = image.shape[:2]
    x, y, unit = _anywhere(landmarks, rng)
    angle, gain = float(rng.uniform(0, 2 * np.pi)), float(np.exp(rng.uniform(-0.5, 0.35)))
    softness = float(np.exp(rng.uniform(np.log(0.05), np.log(0.6)))) * unit
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    side = np.tanh(((xs - x) * np.float32(np.cos(angle)) + (ys - y) * np.float32(np.sin(angle))) / np.float32(softness))
    lit = image * (1 + (side + 1) / 2 * np.float32(gain - 1))[..., None]
    return Distraction(to_uint8(lit), np.zeros((height, width), np.float32))
