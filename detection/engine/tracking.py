"""Tells which faces in different frames belong to the same person.

The engine looks at few frames, 0.1 to 20 seconds apart, so the usual trackers (SORT, arXiv 1602.00763:
predicted boxes, their overlap, Hungarian assignment) find no overlap to work with. We keep SORT's
frame, one optimal assignment of faces to tracks per picture, and replace the overlap by a cost with
two parts, as its successors with appearance do (Deep SORT, arXiv 1703.07402):

* *place*: distance and change of size relative to the face, forgiven more the longer ago it was; it only
  counts while the scene is the one in which the track was last seen;
* *looks*: colours of face, hair and clothing.

A face joins the track for which the sum is least, if it is at most ``LIMIT``; else it starts a new one.
Tracks never end: a person who comes back after a cut is resumed when the looks say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine.types import Face, FloatArray, RGBImage

# The scale of all costs. Measured on 39 clips at six frames each: the looks of one person differ by
# .06 (median) and .32 (99th percentile), those of people in different clips by .28 (1st percentile)
# and .49 (median). LOOKS_SCALE makes .2 of them a cost of 1.
LIMIT = 2.0
LOOKS_SCALE = 0.2
# Place: a standard deviation in face widths, directly afterwards and per square root of a second.
STEP = 0.5
STEP_PER_SQRT_SECOND = 0.5
# The same for the natural logarithm of the size.
GROWTH = 0.25
GROWTH_PER_SQRT_SECOND = 0.1
# Someone who looks the same may have run across the picture: cost of any place that is too far.
FAR = 1.5
# Cost of a place that tells nothing because the scene has changed.
OTHER_SCENE = 0.75
# Correlation of two thumbnails below which the scene has changed. Measured: above .59 in 95 % of the
# pairs within a clip, some of which have moving cameras or cuts; below .36 in 95 % between clips.
SAME_SCENE = 0.5
# Weight of a new sighting in what a track remembers of a person's looks.
LEARNING_RATE = 0.3

Looks = tuple[FloatArray | None, ...]  # one histogram per region; None: outside the picture


@dataclass(slots=True)
class _Track:
    id: int
    face: Face  # as last seen
    time: float
    scene: FloatArray
    last_looks: Looks
    usual_looks: Looks


class FaceTracker:
    """Follows the faces of one media file; make a new one for each file.

    Example:
        >>> tracker = FaceTracker()
        >>> for frame in media.sample(32):
        ...     for track, face in tracker.update(frame.index, frame.time, frame.image, faces):
        ...         ...
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._time = -math.inf

    def update(
        self, frame_index: int, time: float, image: RGBImage, faces: Sequence[Face], scene: FloatArray | None = None
    ) -> list[tuple[int, Face]]:
        """Assign the faces of the next frame to tracks.

        Args:
            frame_index: of the frame, for messages only.
            time: of the frame, seconds; greater than at the last call.
            image: the frame, in which ``faces`` were found.
            faces: in any order; may be empty.
            scene: what :func:`scene_of` gives for ``image``, from who has it at hand.

        Returns:
            ``(track id, face)`` in the order of ``faces``. Ids count from 0 in order of appearance; no
            two faces of one frame get the same.

        Raises:
            ValueError: the frame is not later than the one before.
        """
        if time <= self._time:
            raise ValueError(f"frame {frame_index} at {time} s is not later than {self._time} s")
        self._time = time
        scene = scene_of(image) if scene is None else scene
        looks = [_looks(image, face) for face in faces]
        costs = self._costs(time, scene, faces, looks)
        result = []
        for face, look, choice in zip(faces, looks, assign(costs, LIMIT), strict=True):
            if choice is None:
                track = _Track(len(self._tracks), face, time, scene, look, look)
                self._tracks.append(track)
            else:
                track = self._tracks[choice]
                track.face, track.time, track.scene, track.last_looks = face, time, scene, look
                track.usual_looks = _blended(track.usual_looks, look)
            result.append((track.id, face))
        return result

    def _costs(self, time: float, scene: FloatArray, faces: Sequence[Face], looks: Sequence[Looks]) -> Costs:
        """What joining each track would cost each face, shape (faces, tracks)."""
        costs = np.empty((len(faces), len(self._tracks)))
        for row, (face, look) in enumerate(zip(faces, looks, strict=True)):
            costs[row] = [self._cost(track, time, scene, face, look) for track in self._tracks]
        return costs

    def _cost(self, track: _Track, time: float, scene: FloatArray, face: Face, looks: Looks) -> float:
        seconds = time - track.time
        place = _place_cost(track.face, face, seconds) if same_scene(track.scene, scene) else OTHER_SCENE
        distance = min(_difference(track.last_looks, looks), _difference(track.usual_looks, looks))
        return place + distance / LOOKS_SCALE


def _place_cost(before: Face, now: Face, seconds: float) -> float:
    (x0, y0), (x1, y1) = before.box.centre, now.box.centre
    size0, size1 = (math.sqrt(max(1, face.box.area)) for face in (before, now))
    root = math.sqrt(seconds)
    steps = math.hypot(x1 - x0, y1 - y0) / math.sqrt(size0 * size1) / (STEP + STEP_PER_SQRT_SECOND * root)
    growth = math.log(size1 / size0) / (GROWTH + GROWTH_PER_SQRT_SECOND * root)
    return min(FAR, (steps**2 + growth**2) / 2)


# --- looks ---------------------------------------------------------------------------------------

# Regions around the middle between eyes and mouth, in distances from the eyes to the mouth: left, top,
# right, bottom; and their weights. Upright in the picture: clothing does not turn with the head.
FACE, CLOTHING, HAIR = (-1.1, -1.3, 1.1, 1.3), (-2.5, 2.0, 2.5, 4.5), (-1.2, -2.6, 1.2, -1.2)
REGIONS = ((FACE, 1.0), (CLOTHING, 1.0), (HAIR, 0.5))
# A region counts when at least this part of it lies inside the picture.
MIN_VISIBLE = 0.15
NOTHING_IN_COMMON = 1.0


def scene_of(image: RGBImage) -> FloatArray:
    """A thumbnail of the whole picture with mean 0 and variance 1, so that means are correlations."""
    step = max(1, min(image.shape[:2]) // 480)  # means of every pixel of a large picture would take a while
    thumbnail = cv2.resize(np.ascontiguousarray(image[::step, ::step]), (24, 24), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2GRAY).astype(np.float32)
    deviation = float(grey.std())
    if deviation < 1:  # one plain colour is like another one
        return np.ones_like(grey)
    normal: FloatArray = ((grey - grey.mean()) / deviation).astype(np.float32)
    return normal


def same_scene(scene: FloatArray, other: FloatArray) -> bool:
    """Whether two thumbnails of :func:`scene_of` show one scene."""
    return float(np.mean(scene * other)) >= SAME_SCENE


def _looks(image: RGBImage, face: Face) -> Looks:
    eyes, mouth = face.landmarks[:2].mean(axis=0), face.landmarks[3]
    unit = max(4.0, float(np.linalg.norm(mouth - eyes)))
    x, y = ((eyes + mouth) / 2).tolist()
    return tuple(
        _histogram(image, (x + unit * left, y + unit * top, x + unit * right, y + unit * bottom))
        for (left, top, right, bottom), _ in REGIONS
    )


def _histogram(image: RGBImage, region: tuple[float, float, float, float]) -> FloatArray | None:
    """Square root of the distribution of colours in a region: its dot products are Bhattacharyya's.

    Half of it is lightness, half of it hue and saturation (a and b of CIELAB), both slightly blurred
    so that a colour at the edge of a bin does not fall into nothing.
    """
    height, width = image.shape[:2]
    left, top = max(0, round(region[0])), max(0, round(region[1]))
    right, bottom = min(width, round(region[2])), min(height, round(region[3]))
    whole = (region[2] - region[0]) * (region[3] - region[1])
    if right - left < 4 or bottom - top < 4 or (right - left) * (bottom - top) < MIN_VISIBLE * whole:
        return None
    patch = cv2.resize(image[top:bottom, left:right], (32, 32), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(patch, cv2.COLOR_RGB2LAB)
    lightness = cv2.GaussianBlur(cv2.calcHist([lab], [0], None, [12], [0, 256]), (1, 3), 0)
    colour = cv2.GaussianBlur(cv2.calcHist([lab], [1, 2], None, [16, 16], [64, 192, 64, 192]), (3, 3), 0)
    parts = [part.ravel() / max(1e-6, float(part.sum())) / 2 for part in (lightness, colour)]
    roots: FloatArray = np.sqrt(np.concatenate(parts)).astype(np.float32)
    return roots


def _difference(looks: Looks, other: Looks) -> float:
    """Mean Hellinger distance of the regions that both have, 0 (same) to 1."""
    total = weights = 0.0
    for a, b, (_, weight) in zip(looks, other, REGIONS, strict=True):
        if a is not None and b is not None:
            total += weight * math.sqrt(max(0.0, 1 - float(a @ b)))
            weights += weight
    return total / weights if weights else NOTHING_IN_COMMON


def _blended(usual: Looks, now: Looks) -> Looks:
    return tuple(_blend(a, b) for a, b in zip(usual, now, strict=True))


def _blend(a: FloatArray | None, b: FloatArray | None) -> FloatArray | None:
    if a is None or b is None:
        return b if a is None else a
    mixed = (1 - LEARNING_RATE) * a + LEARNING_RATE * b
    unit: FloatArray = (mixed / np.linalg.norm(mixed)).astype(np.float32)
    return unit


# --- assignment ----------------------------------------------------------------------------------


Costs = NDArray[np.float64]
# More than any sum of allowed costs.
FORBIDDEN = 1e6


def assign(costs: Costs, limit: float) -> list[int | None]:
    """The cheapest assignment of rows to different columns.

    Args:
        costs: shape (rows, columns).
        limit: cost of leaving a row alone; no pair that costs more is made.

    Returns:
        For each row its column, or ``None``.

    The Hungarian method with potentials, O(rows² columns): one shortest augmenting path per row.
    """
    rows, columns = costs.shape
    # Each row gets a column of its own that stands for "nobody".
    alone = np.where(np.eye(rows, dtype=bool), limit, FORBIDDEN)
    table = np.concatenate([np.where(costs <= limit, costs, FORBIDDEN), alone], axis=1)
    row_of = np.full(columns + rows + 1, -1)  # the last column is the start of every search
    row_price, column_price = np.zeros(rows), np.zeros(columns + rows + 1)
    for row in range(rows):
        row_of[-1] = row
        _augment(table, row_of, row_price, column_price)
    taken = {int(row): column for column, row in enumerate(row_of[:columns]) if row >= 0}
    return [taken.get(row) for row in range(rows)]


def _augment(
    table: Costs, row_of: NDArray[np.int_], row_price: NDArray[np.float64], column_price: NDArray[np.float64]
) -> None:
    """Find the cheapest path from the start column to a free one, and assign along it, in place."""
    start = column = len(row_of) - 1
    cheapest = np.full(start, np.inf)
    before = np.full(start, start)  # the column before each on its cheapest path
    visited = np.zeros(start + 1, dtype=bool)
    while row_of[column] >= 0:
        visited[column] = True
        row = row_of[column]
        reduced = table[row] - row_price[row] - column_price[:-1]
        better = ~visited[:-1] & (reduced < cheapest)
        cheapest[better], before[better] = reduced[better], column
        column = int(np.argmin(np.where(visited[:-1], np.inf, cheapest)))
        step = cheapest[column]
        row_price[row_of[visited]] += step
        column_price[visited] -= step
        cheapest[~visited[:-1]] -= step
    while column != start:
        row_of[column] = row_of[before[column]]
        column = int(before[column])
    row_of[start] = -1
