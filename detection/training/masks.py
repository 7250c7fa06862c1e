"""Soft masks over parts of a face: what a manipulation replaces.

With a 468-point mesh there are many families of them (whole face, components, eyes, mouth, halves, ...); a face
without one falls back to ellipses laid out by eyes, nose and mouth. All lengths are in face units
(:func:`~detection.engine.preprocessing.face_scale`), so small and big faces get the same variety.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from detection.engine.preprocessing import LEFT_EYE, MOUTH, NOSE, RIGHT_EYE, face_scale
from detection.engine.types import FloatArray

# Mesh points of the parts of a face; "right" is the person's right.
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LOWER_LIP = (146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88, 178, 87, 14, 317, 402, 318, 324)
RIGHT_EYE_RING = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE_RING = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
LEFT_BROW = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
NOSE_POINTS = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358, 49, 279, 64, 294, 193, 417, 122, 351)
RIGHT_CHEEK = (50, 101, 36, 205, 187, 123, 116, 117, 118, 119, 100, 203, 206, 207, 147, 213, 192, 214)
LEFT_CHEEK = (280, 330, 266, 425, 411, 352, 345, 346, 347, 348, 329, 423, 426, 427, 376, 433, 416, 434)

# Mask families and how often each is drawn.
FAMILIES: Mapping[str, float] = {
    "hull": 0.2,
    "hull-no-forehead": 0.16,
    "inner": 0.12,
    "components": 0.1,
    "eyes": 0.07,
    "one-eye": 0.02,
    "nose": 0.05,
    "mouth": 0.08,
    "lower": 0.09,
    "cheeks": 0.03,
    "half": 0.04,
    "polygon": 0.04,
}
PARTS = ("eyes", "nose", "mouth", "lower")  # what ellipses can show, too
ELLIPSES: Mapping[str, float] = {"hull": 0.5, "lower": 0.15, "mouth": 0.15, "eyes": 0.1, "nose": 0.1}
HARD_EDGED = 0.12


def face_mask(
    shape: tuple[int, int],
    landmarks: FloatArray,
    rng: np.random.Generator,
    mesh: FloatArray | None = None,
    families: Sequence[str] | None = None,
) -> FloatArray:
    """A soft mask (height, width), float32 0..1 and 1 at its highest, over the face or a part of it.

    Args:
        shape: (height, width) of the picture.
        landmarks: (4, 2) in its pixels.
        rng: draws the family, its outline and its feather.
        mesh: (468, 2), if known.
        families: names out of :data:`FAMILIES` to draw from; all by default.
    """
    shares = FAMILIES if mesh is not None else ELLIPSES
    names = [name for name in shares if families is None or name in families] or ["hull"]
    weights = np.array([shares[name] for name in names])
    family = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    outline = outline_of(family, shape, landmarks, rng, mesh)
    # What suits a face would tear a mouth apart: small parts are bent and feathered by their own size.
    unit = min(face_scale(landmarks), max(4.0, float(np.sqrt(outline.sum()))))
    return soften(bend(outline, unit, rng), unit, rng)


def outline_of(
    family: str,
    shape: tuple[int, int],
    landmarks: FloatArray,
    rng: np.random.Generator,
    mesh: FloatArray | None = None,
) -> FloatArray:
    """The hard mask (height, width) float32 of one family, before it is bent and feathered."""
    mask = np.zeros(shape, np.float32)
    if mesh is None:
        _fill_ellipse(mask, family, landmarks, rng)
        return mask
    for points in _polygons(family, landmarks, mesh, rng):
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points * 8).astype(np.int32)), 1.0, cv2.LINE_8, 3)
    return mask


def _polygons(family: str, landmarks: FloatArray, mesh: FloatArray, rng: np.random.Generator) -> list[FloatArray]:
    """Groups of mesh points whose convex hulls together are the mask."""
    across, down = _coordinates(mesh, landmarks)
    brows = down[list(RIGHT_BROW + LEFT_BROW)].min()
    cut = float(rng.uniform())
    grown = float(np.exp(rng.uniform(-0.1, 0.25)))
    match family:
        case "hull":
            return [mesh]
        case "hull-no-forehead":
            return [mesh[down >= brows - 0.05 - 0.15 * cut]]
        case "inner":  # brows to mouth without the rims of cheeks and chin: what autoencoder swaps replace
            return [
                _grown(mesh[list(RIGHT_BROW + LEFT_BROW + LIPS + RIGHT_CHEEK + LEFT_CHEEK)], grown * (1.0 + 0.3 * cut))
            ]
        case "components":
            return [_grown(mesh[list(part)], grown) for part in _drawn_components(rng)]
        case "eyes":
            brow = cut < 0.6
            sides = ((RIGHT_EYE_RING, RIGHT_BROW), (LEFT_EYE_RING, LEFT_BROW))
            groups = [ring + (other if brow else ()) for ring, other in sides]
            whole = [groups[0] + groups[1]] if cut < 0.3 else groups
            return [_grown(mesh[list(group)], grown * 1.35) for group in whole]
        case "one-eye":
            ring, brow_points = (RIGHT_EYE_RING, RIGHT_BROW) if cut < 0.5 else (LEFT_EYE_RING, LEFT_BROW)
            return [_grown(mesh[list(ring + brow_points)], grown * 1.3)]
        case "nose":
            return [_grown(mesh[list(NOSE_POINTS)], grown * 1.15)]
        case "mouth":
            return [_grown(mesh[list(LIPS)], grown * (1.2 + 0.7 * cut))]
        case "lower":
            return [mesh[down >= 0.35 + 0.35 * cut]]
        case "cheeks":
            return [_grown(mesh[list(part)], grown) for part in (RIGHT_CHEEK, LEFT_CHEEK)]
        case "half":
            side = 1 if rng.random() < 0.5 else -1
            return [mesh[side * across >= 0.2 * (cut - 0.5)]]
        case _:  # a random polygon around a random point of the face
            middle = mesh[int(rng.integers(len(mesh)))]
            near = np.argsort(((mesh - middle) ** 2).sum(axis=1))[: int(40 + 200 * cut)]
            return [mesh[rng.choice(near, int(rng.integers(5, 10)), replace=False)]]


def _drawn_components(rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Eyes with brows, nose, mouth and cheeks; each of the latter may be missing."""
    eyes: list[tuple[int, ...]] = [RIGHT_EYE_RING + RIGHT_BROW, LEFT_EYE_RING + LEFT_BROW]
    others: list[tuple[int, ...]] = [NOSE_POINTS, LIPS, RIGHT_CHEEK, LEFT_CHEEK]
    return eyes + [part for part, kept in zip(others, rng.random(4) < 0.75, strict=True) if kept]


def _coordinates(points: FloatArray, landmarks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points in the face's own frame: across (0 in the middle) and down (0 at the eyes), in face units."""
    eyes = (landmarks[RIGHT_EYE] + landmarks[LEFT_EYE]) / 2
    down = landmarks[MOUTH] - eyes
    axis = down / max(float(np.linalg.norm(down)), 1e-6)
    local = (points - eyes) / face_scale(landmarks)
    return local @ np.array([axis[1], -axis[0]], np.float32), local @ axis


def _grown(points: FloatArray, factor: float) -> FloatArray:
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    return np.asarray(centre + (points - centre) * factor, np.float32)


def _fill_ellipse(mask: FloatArray, family: str, landmarks: FloatArray, rng: np.random.Generator) -> None:
    """The same parts from four points only."""
    eyes = (landmarks[RIGHT_EYE] + landmarks[LEFT_EYE]) / 2
    down = landmarks[MOUTH] - eyes
    places: dict[str, tuple[FloatArray, float, float]] = {  # centre, half axes in face units
        "lower": (eyes + 0.95 * down, 0.8, 0.7),
        "mouth": (landmarks[MOUTH], 0.5, 0.32),
        "eyes": (eyes, 0.85, 0.32),
        "nose": (landmarks[NOSE] - 0.1 * down, 0.36, 0.5),
    }
    centre, width, height = places.get(family, (eyes + 0.5 * down, 0.95, 1.25))
    unit, wobble = face_scale(landmarks), rng.uniform(0.85, 1.15, 2)
    axes = (max(2, round(width * unit * wobble[0])), max(2, round(height * unit * wobble[1])))
    angle = float(np.degrees(np.arctan2(down[1], down[0])) - 90)
    cv2.ellipse(mask, (round(float(centre[0])), round(float(centre[1]))), axes, angle, 0, 360, 1.0, -1)


def bend(mask: FloatArray, unit: float, rng: np.random.Generator) -> FloatArray:
    """Bend the outline with a smooth random displacement of 2 to 12 % of a face unit, shift and scale it a little.

    A mask that the bending would lose, because it is tiny, stays as it is.
    """
    height, width = mask.shape
    knots = int(rng.integers(4, 9))
    strength = unit * float(np.exp(rng.uniform(np.log(0.02), np.log(0.12))))
    offsets = rng.standard_normal((knots, knots, 2)).astype(np.float32) * np.float32(strength)
    offsets += rng.uniform(-0.05, 0.05, 2).astype(np.float32) * np.float32(unit)
    field = cv2.resize(offsets, (width, height), interpolation=cv2.INTER_CUBIC)
    grid_y, grid_x = np.mgrid[:height, :width].astype(np.float32)
    bent = np.asarray(cv2.remap(mask, grid_x + field[..., 0], grid_y + field[..., 1], cv2.INTER_LINEAR), np.float32)
    return bent if bent.max() > 0.9 else mask


def soften(mask: FloatArray, unit: float, rng: np.random.Generator) -> FloatArray:
    """Shrink or grow a hard mask at random, then feather its edge: from hard to as wide as half a face unit.

    This is the blur, normalise, drop-below-one, blur of self-blended images: "all of the kernel lies inside"
    is an erosion, so it is done as one, on floats. A mask that would vanish is feathered without it.
    """
    hard = rng.random() < HARD_EDGED
    sizes = unit * np.exp(rng.uniform(np.log(0.03), np.log(0.4), 2))
    grow = rng.random() < 0.2
    first = 2 * int(sizes[0] / 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (first, first))
    changed = cv2.dilate(mask, kernel) if grow else cv2.erode(mask, kernel)
    if changed.max() > 0.9:
        mask = np.asarray(changed, np.float32)
    if hard:
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.6), np.float32)
    second = 2 * int(sizes[1] / 2) + 1
    # Two passes of a box are nearly a Gaussian and cost the same at any width.
    soft = np.asarray(cv2.blur(cv2.blur(mask, (second, second)), (second, second)), np.float32)
    return np.asarray(np.clip(soft / max(float(soft.max()), 1e-6), 0, 1), np.float32)
