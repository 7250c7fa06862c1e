"""Which parts of a picture a network of fixed input size looks at, and how they are cut out."""

from __future__ import annotations

import math

import cv2
import numpy as np

from detection.engine.types import FloatArray, RGBImage

SquareView = tuple[tuple[float, float], float]  # x and y of the centre, and the side; pixels


class View:
    """A square of a picture, perhaps rotated and perhaps reaching over the picture's edges.

    Args:
        centre: of the square, pixels of the picture.
        side: of the square, pixels.
        angle: by which the square is rotated clockwise in the picture, radians.

    Coordinates are continuous: pixel ``i`` covers ``i`` to ``i + 1``.
    """

    def __init__(self, centre: tuple[float, float], side: float, angle: float = 0.0) -> None:
        # Whole pixels, so that the cut needs no interpolation of its own.
        self.side = max(1, round(side))
        self._reach = math.ceil(self.side * (abs(math.cos(angle)) + abs(math.sin(angle))))
        self._corner = (round(centre[0] - self._reach / 2), round(centre[1] - self._reach / 2))
        middle = self._reach / 2
        self.centre = np.array([self._corner[0] + middle, self._corner[1] + middle], np.float32)
        self._rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], np.float32)
        self._angle = angle

    def cut(self, image: RGBImage, size: int) -> RGBImage:
        """What the view shows, ``size`` x ``size`` pixels, black outside the picture."""
        upright_size = max(1, round(size * self._reach / self.side))
        upright = _cut_square(image, self._corner, self._reach, upright_size)
        if not self._angle:
            return upright
        matrix = self._rotation * (self.side / size) * (upright_size / self._reach)
        # cv2 counts from the middle of the first pixel, we count from its edge.
        shift = upright_size / 2 - 0.5 - matrix @ np.full(2, size / 2 - 0.5, np.float32)
        rotated = cv2.warpAffine(
            upright,
            np.concatenate([matrix, shift[:, None]], axis=1),
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        return np.asarray(rotated, np.uint8)

    def to_picture(self, points: FloatArray, size: int) -> FloatArray:
        """Map points (..., 2) of the cut to the picture."""
        scaled = (points - np.float32(size / 2)) * np.float32(self.side / size)
        mapped: FloatArray = (scaled @ self._rotation.T + self.centre).astype(np.float32)
        return mapped


def _cut_square(image: RGBImage, corner: tuple[int, int], side: int, size: int) -> RGBImage:
    """The square with this left-top corner, resized to ``size`` and padded with black."""
    height, width = image.shape[:2]
    left, top = max(corner[0], 0), max(corner[1], 0)
    right, bottom = min(corner[0] + side, width), min(corner[1] + side, height)
    square = np.zeros((size, size, 3), np.uint8)
    if right <= left or bottom <= top:
        return square
    scale = size / side
    x = min(round((left - corner[0]) * scale), size - 1)
    y = min(round((top - corner[1]) * scale), size - 1)
    inner = (
        min(max(round((right - left) * scale), 1), size - x),
        min(max(round((bottom - top) * scale), 1), size - y),
    )
    square[y : y + inner[1], x : x + inner[0]] = resized(image[top:bottom, left:right], inner)
    return square


def resized(image: RGBImage, size: tuple[int, int]) -> RGBImage:
    """``image`` in ``size`` (width, height), without aliasing."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    smaller = size[0] < image.shape[1]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


# The network's input shows faces from about 12 pixels: tiles of 500 pixels show faces from 32. A picture
# of more than 900 lines has larger tiles, which show faces from 1/30 of its short side.
FINEST_TILE = 500
TILES_PER_SHORT_SIDE = 1.8
# More than the width of the faces that a tile is meant for, and 12 views instead of 20 for 1080p.
TILE_OVERLAP = 0.2
MAX_TILES = 16


def search_views(width: int, height: int) -> list[SquareView]:
    """The squares that a search of a picture of this size looks at; the second one is the picture as a whole."""
    long_side, short_side = max(width, height), min(width, height)
    whole = (width / 2, height / 2)
    views = [(whole, 2.0 * long_side), (whole, 1.0 * long_side)]
    finest = max(FINEST_TILE, short_side / TILES_PER_SHORT_SIDE)
    side = max(float(short_side), finest)
    while side >= finest:
        if side < 0.9 * long_side:
            views += _tiles(width, height, side)
        side = max(side / 2, finest) if side > 1.2 * finest else 0.0
    return views


def _tiles(width: int, height: int, side: float) -> list[SquareView]:
    xs, ys = _tile_centres(width, side), _tile_centres(height, side)
    while len(xs) * len(ys) > MAX_TILES:  # a very long picture
        side *= 1.25
        xs, ys = _tile_centres(width, side), _tile_centres(height, side)
    return [((x, y), side) for y in ys for x in xs]


def _tile_centres(length: int, side: float) -> list[float]:
    if side >= length:
        return [length / 2]
    count = math.ceil((length - side) / (side * (1 - TILE_OVERLAP))) + 1
    return [float(centre) for centre in np.linspace(side / 2, length - side / 2, count)]
