"""Tells which faces in different frames belong to the same person.

The engine looks at few frames, 0.1 to 20 seconds apart, so the usual trackers (SORT, arXiv 1602.00763:
predicted boxes, their overlap, Hungarian assignment) find no overlap to work with. We keep SORT's
frame, one optimal assignment of faces to tracks per picture, and replace the overlap by a cost with
two parts, as its successors with appearance do (Deep SORT, arXiv 1703.07402):

* *place*: distance and change of size relative to the face, forgiven more the longer ago it was; it only
  counts while the scene is the one in which the track was last seen;
* *looks*: colours of face, hair and clothing.

A face joins the track for which the sum is least, if it is at most ``LIMIT``; else it starts a new one.
Tracks do not end: a person who comes back after a cut is resumed when the looks say so. Only in a crowd of more than
``MOST_REMEMBERED`` people those who were not seen for the longest time are forgotten.
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
# People whom a face is compared with. Each costs 9 kB and some microseconds a frame.
MOST_REMEMBERED = 4096

Looks = FloatArray  # (regions, bins): a histogram of each region; 0 everywhere: it lies outside the picture


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a tracker needs of one frame, some kilobytes: it can be followed again without the picture.

    Attributes:
        frame_index: of the frame, for messages only.
        time: of the frame, seconds.
        scene: what :func:`scene_of` gives for it.
        faces: in any order; may be empty.
        looks: of each face.
    """

    frame_index: int
    time: float
    scene: FloatArray
    faces: tuple[Face, ...]
    looks: tuple[Looks, ...]


def sighting_of(
    frame_index: int, time: float, image: RGBImage, faces: Sequence[Face], scene: FloatArray | None = None
) -> Sighting:
    """The sighting of ``faces``, which were found in ``image``; ``scene`` from who has it at hand."""
    scene = scene_of(image) if scene is None else scene
    return Sighting(frame_index, time, scene, tuple(faces), tuple(_looks(image, face) for face in faces))


class FaceTracker:
    """Follows the faces of one media file; make a new one for each file.

    Example:
        >>> tracker = FaceTracker()
        >>> for frame in media.sample(32):
        ...     for track, face in tracker.update(frame.index, frame.time, frame.image, faces):
        ...         ...
    """

    def __init__(self) -> None:
        self._people = _People()
        self._tracks = 0
        self._time = -math.inf

    def update(
        self, frame_index: int, time: float, image: RGBImage, faces: Sequence[Face], scene: FloatArray | None = None
    ) -> list[tuple[int, Face]]:
        """Assign the faces of the next frame to tracks: :meth:`follow` for who has the picture.

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
        tracks = self.follow(sighting_of(frame_index, time, image, faces, scene))
        return list(zip(tracks, faces, strict=True))

    def follow(self, seen: Sighting) -> list[int]:
        """The track of each of the sighting's faces. See :meth:`update`."""
        if seen.time <= self._time:
            raise ValueError(f"frame {seen.frame_index} at {seen.time} s is not later than {self._time} s")
        self._time = seen.time
        chosen = assign(self._people.costs(seen), LIMIT)
        # Before anybody is added: who is new may take a place.
        tracks = [None if place is None else self._people.id_at(place) for place in chosen]
        for face, looks, place in zip(seen.faces, seen.looks, chosen, strict=True):
            if place is not None:
                self._people.see_again(place, face, seen, looks)
        return [
            self._begin(face, seen, looks) if known is None else known
            for face, looks, known in zip(seen.faces, seen.looks, tracks, strict=True)
        ]

    def _begin(self, face: Face, seen: Sighting, looks: Looks) -> int:
        track, self._tracks = self._tracks, self._tracks + 1
        self._people.add(track, face, seen, looks)
        return track


class _People:
    """What is remembered of each track, in one array, so that a face is compared with all of them at once."""

    def __init__(self) -> None:
        self._rows = np.zeros(16, _PERSON)
        self._count = 0

    def id_at(self, place: int) -> int:
        return int(self._rows["id"][place])

    def add(self, track: int, face: Face, seen: Sighting, looks: Looks) -> None:
        """Remember somebody new; where there are too many, in the place of who was not seen for the longest time."""
        if self._count < MOST_REMEMBERED:
            place, self._count = self._count, self._count + 1
            if place == len(self._rows):
                self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        else:
            place = int(np.argmin(self._rows["time"][: self._count]))
        self._rows["id"][place] = track
        self._rows["looks"][place, USUAL] = looks
        self._write(place, face, seen, looks)

    def see_again(self, place: int, face: Face, seen: Sighting, looks: Looks) -> None:
        self._rows["looks"][place, USUAL] = _blended(self._rows["looks"][place, USUAL], looks)
        self._write(place, face, seen, looks)

    def _write(self, place: int, face: Face, seen: Sighting, looks: Looks) -> None:
        row = self._rows[place]
        row["time"], row["centre"], row["size"] = seen.time, face.box.centre, _size(face)
        row["scene"] = seen.scene.ravel()
        row["looks"][LAST] = looks
        row["visible"] = row["looks"].any(axis=2)

    def costs(self, seen: Sighting) -> Costs:
        """What joining each track would cost each face, shape (faces, tracks)."""
        rows = self._rows[: self._count]
        if not seen.faces or not self._count:
            return np.zeros((len(seen.faces), self._count))
        same = np.einsum("tp,p->t", rows["scene"], seen.scene.ravel()) / seen.scene.size >= SAME_SCENE
        place = np.where(same, _place_costs(rows, seen.faces, seen.time), OTHER_SCENE)
        stacked = np.stack(seen.looks)
        last, usual = (_differences(rows, which, stacked) for which in (LAST, USUAL))
        costs: Costs = place + np.minimum(last, usual) / LOOKS_SCALE
        return costs


def _place_costs(rows: NDArray[np.void], faces: Sequence[Face], time: float) -> Costs:
    """What place and size say, shape (faces, tracks)."""
    centres = np.array([face.box.centre for face in faces])[:, None]
    sizes = np.array([_size(face) for face in faces])[:, None]
    root = np.sqrt(time - rows["time"])
    distance = np.hypot(*np.moveaxis(centres - rows["centre"], 2, 0))
    steps = distance / np.sqrt(sizes * rows["size"]) / (STEP + STEP_PER_SQRT_SECOND * root)
    growth = np.log(sizes / rows["size"]) / (GROWTH + GROWTH_PER_SQRT_SECOND * root)
    costs: Costs = np.minimum(FAR, (steps**2 + growth**2) / 2)
    return costs


def _size(face: Face) -> float:
    return math.sqrt(max(1, face.box.area))


# --- looks ---------------------------------------------------------------------------------------

# Regions around the middle between eyes and mouth, in distances from the eyes to the mouth: left, top,
# right, bottom; and their weights. Upright in the picture: clothing does not turn with the head.
FACE, CLOTHING, HAIR = (-1.1, -1.3, 1.1, 1.3), (-2.5, 2.0, 2.5, 4.5), (-1.2, -2.6, 1.2, -1.2)
REGIONS = ((FACE, 1.0), (CLOTHING, 1.0), (HAIR, 0.5))
# A region counts when at least this part of it lies inside the picture.
MIN_VISIBLE = 0.15
NOTHING_IN_COMMON = 1.0
LIGHTNESS_BINS, COLOUR_BINS = 12, 16  # the latter twice
BINS = LIGHTNESS_BINS + COLOUR_BINS**2
THUMBNAIL = 24  # pixels, square

LAST, USUAL = 0, 1  # looks of a track
_PERSON = np.dtype(
    [
        ("time", np.float64),  # when last seen, as the next ones
        ("centre", np.float64, 2),
        ("size", np.float64),
        ("id", np.int32),
        ("scene", np.float32, THUMBNAIL**2),
        ("looks", np.float32, (2, len(REGIONS), BINS)),
        ("visible", np.float32, (2, len(REGIONS))),  # 1 where the region lay in the picture
    ]
)


def scene_of(image: RGBImage) -> FloatArray:
    """A thumbnail of the whole picture with mean 0 and variance 1, so that means are correlations."""
    step = max(1, min(image.shape[:2]) // 480)  # means of every pixel of a large picture would take a while
    thumbnail = cv2.resize(
        np.ascontiguousarray(image[::step, ::step]), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA
    )
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
    looks = np.zeros((len(REGIONS), BINS), np.float32)
    for histogram, ((left, top, right, bottom), _) in zip(looks, REGIONS, strict=True):
        found = _histogram(image, (x + unit * left, y + unit * top, x + unit * right, y + unit * bottom))
        if found is not None:
            histogram[:] = found
    return looks


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
    lightness = cv2.GaussianBlur(cv2.calcHist([lab], [0], None, [LIGHTNESS_BINS], [0, 256]), (1, 3), 0)
    colour = cv2.GaussianBlur(cv2.calcHist([lab], [1, 2], None, [COLOUR_BINS] * 2, [64, 192, 64, 192]), (3, 3), 0)
    parts = [part.ravel() / max(1e-6, float(part.sum())) / 2 for part in (lightness, colour)]
    roots: FloatArray = np.sqrt(np.concatenate(parts)).astype(np.float32)
    return roots


def _differences(rows: NDArray[np.void], which: int, looks: FloatArray) -> Costs:
    """Mean Hellinger distance of the regions that both have, 0 (same) to 1; shape (faces, tracks).

    Args:
        which: LAST or USUAL looks of the tracks.
        looks: of the faces, (faces, regions, bins).
    """
    total, weights = np.zeros((2, len(looks), len(rows)))
    for region, (_, weight) in enumerate(REGIONS):
        both = looks[:, region].any(axis=1, keepdims=True) * rows["visible"][:, which, region] * weight
        # No matrix product: BLAS would start threads for it, which wait for each other longer than this takes where all
        # cores are at work.
        alike = np.einsum("fb,tb->ft", looks[:, region], rows["looks"][:, which, region])
        total += both * np.sqrt(np.maximum(0, 1 - alike))
        weights += both
    return np.divide(total, weights, out=np.full_like(total, NOTHING_IN_COMMON), where=weights > 0)


def _blended(usual: Looks, now: Looks) -> Looks:
    """With a little of what is seen now; a region that only one of them has is that one's."""
    mixed = (1 - LEARNING_RATE) * usual + LEARNING_RATE * now
    both = usual.any(axis=1, keepdims=True) & now.any(axis=1, keepdims=True)
    lengths = np.where(both, np.linalg.norm(mixed, axis=1, keepdims=True), 1)
    blended: Looks = np.where(both, mixed / lengths, usual + now).astype(np.float32)
    return blended


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
    # Most columns of a crowd are out of reach of every row.
    near = np.flatnonzero((costs <= limit).any(axis=0))
    return [None if column is None else int(near[column]) for column in _assign(costs[:, near], limit)]


def _assign(costs: Costs, limit: float) -> list[int | None]:
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
