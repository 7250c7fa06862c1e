"""Smooth geometric changes of a face: onto another face's mesh, into another expression, slightly out of place."""

from __future__ import annotations

import cv2
import numpy as np

from detection.engine.preprocessing import LEFT_EYE, MOUTH, RIGHT_EYE, face_scale
from detection.engine.types import FloatArray, RGBImage
from detection.training.degradations import BORDER
from detection.training.masks import LIPS, LOWER_LIP

# Displacements are computed on a coarse grid and interpolated: they are smooth, and this is a hundred times cheaper.
GRID = 28


def similarity(start: FloatArray, end: FloatArray) -> FloatArray:
    """The rotation, scaling and shift (2, 3) that brings points ``start`` (n, 2) closest to ``end`` (n, 2)."""
    a, b = start - start.mean(axis=0), end - end.mean(axis=0)
    scale = max(float((a**2).sum()), 1e-6)
    cos = float((a * b).sum()) / scale
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / scale
    turn = np.array([[cos, -sin], [sin, cos]], np.float32)
    shift = end.mean(axis=0) - turn @ start.mean(axis=0)
    return np.concatenate([turn, shift[:, None]], axis=1).astype(np.float32)


def warp_to(image: RGBImage, points: FloatArray, target: FloatArray, shape: tuple[int, int]) -> RGBImage:
    """Draw ``image`` so that its ``points`` (n, 2) come to lie at ``target`` (n, 2), on a canvas of ``shape``.

    A similarity for the whole, and what is left at each point spread smoothly around it.
    """
    matrix = similarity(target, points)
    rest = points - (target @ matrix[:, :2].T + matrix[:, 2])
    spread = 0.06 * float(np.ptp(target, axis=0).max())
    field = displacement(target, rest, shape, spread)
    height, width = shape
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    map_x = matrix[0, 0] * xs + matrix[0, 1] * ys + matrix[0, 2] + field[..., 0]
    map_y = matrix[1, 0] * xs + matrix[1, 1] * ys + matrix[1, 2] + field[..., 1]
    return np.asarray(cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=BORDER), np.uint8)


def misfit(points: FloatArray, target: FloatArray) -> float:
    """How unlike two meshes are after the best similarity: root mean square distance by the target's size.

    About 0.03 for two people seen alike, above 0.1 for a profile and a frontal view.
    """
    matrix = similarity(points, target)
    rest = points @ matrix[:, :2].T + matrix[:, 2] - target
    return float(np.sqrt((rest**2).sum(axis=1).mean()) / max(float(np.ptp(target, axis=0).max()), 1.0))


def displacement(points: FloatArray, offsets: FloatArray, shape: tuple[int, int], spread: float) -> FloatArray:
    """A smooth field (height, width, 2): the mean of ``offsets`` (n, 2) at ``points``, weighted by a Gaussian of
    ``spread`` pixels (kernel regression)."""
    height, width = shape
    if len(points) > 200:
        points, offsets = points[::3], offsets[::3]
    xs = ((np.arange(GRID) + 0.5) * width / GRID - 0.5).astype(np.float32)
    ys = ((np.arange(GRID) + 0.5) * height / GRID - 0.5).astype(np.float32)
    # A Gaussian in two dimensions is a product of two in one: no exponential per grid knot is needed.
    along_x = np.exp(-((xs[:, None] - points[None, :, 0]) ** 2) / np.float32(2 * spread**2))
    along_y = np.exp(-((ys[:, None] - points[None, :, 1]) ** 2) / np.float32(2 * spread**2))
    weights = along_y @ along_x.T
    parts = [(along_y * offsets[None, :, axis]) @ along_x.T / (weights + np.float32(1e-3)) for axis in (0, 1)]
    field = np.stack(parts, axis=2).astype(np.float32)
    return np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def shift(image: RGBImage, unit: float, rng: np.random.Generator) -> RGBImage:
    """Move, turn and scale by a few per cent: the trace of an imperfect alignment."""
    height, width = image.shape[:2]
    scale = float(np.exp(rng.uniform(-0.05, 0.05)))
    rotation = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-2, 2)), scale)
    matrix = np.asarray(rotation, np.float64)
    matrix[:, 2] += rng.uniform(-0.08, 0.08, 2) * unit
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=BORDER), np.uint8)


def change_expression(
    image: RGBImage, landmarks: FloatArray, mesh: FloatArray | None, rng: np.random.Generator
) -> RGBImage:
    """Open, close, narrow, widen, raise or skew the mouth, as an animated face would have it."""
    unit = face_scale(landmarks)
    eyes = (landmarks[RIGHT_EYE] + landmarks[LEFT_EYE]) / 2
    axis = landmarks[MOUTH] - eyes
    down = axis / max(float(np.linalg.norm(axis)), 1e-6)
    across = np.array([down[1], -down[0]], np.float32)
    opening, widening, smile, skew = (float(v) * unit for v in rng.normal(0, (0.1, 0.06, 0.05, 0.04)))
    if mesh is None:
        mouth = landmarks[MOUTH] + np.float32(0.4 * unit) * np.stack([-across, across, -down * 0.4, down * 0.5])
        still = np.stack([eyes, landmarks[RIGHT_EYE], landmarks[LEFT_EYE], landmarks[MOUTH] + down * unit])
        points, lips, lower = np.concatenate([mouth, still]), [0, 1, 2, 3], [3]
    else:
        points, lips, lower = mesh, list(LIPS) + list(LOWER_LIP), list(LOWER_LIP)
    offsets = np.zeros_like(points)
    beside = (points[lips] - landmarks[MOUTH]) @ across / unit  # about -0.45 at one corner, 0.45 at the other
    offsets[lips] += (2 * widening * beside)[:, None] * across
    offsets[lips] += (skew * beside / 0.45 - smile * (beside / 0.45) ** 2)[:, None] * down
    offsets[lower] += opening * down
    # The picture is read where the point comes from, hence the minus.
    field = displacement(points + offsets, -offsets, image.shape[:2], (0.09 if mesh is not None else 0.35) * unit)
    height, width = image.shape[:2]
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(
        cv2.remap(image, xs + field[..., 0], ys + field[..., 1], cv2.INTER_LINEAR, borderMode=BORDER), np.uint8
    )
