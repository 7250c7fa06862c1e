"""Drawn people: face detectors find them, and we know exactly where their eyes and mouths are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.uint8]
Points: TypeAlias = NDArray[np.float32]
Colour: TypeAlias = tuple[int, int, int]

WALL: Colour = (120, 140, 160)
# Right eye, left eye, nose tip, mouth of a portrait, in parts of its side; and the width of the face.
LANDMARKS: Points = np.array([[0.395, 0.47], [0.605, 0.47], [0.5, 0.58], [0.5, 0.71]], np.float32)
FACE_WIDTH = 0.5


@dataclass(frozen=True)
class Person:
    skin: Colour = (224, 172, 140)
    hair: Colour = (60, 40, 30)
    clothing: Colour = (40, 60, 110)


ANNA = Person()
BEN = Person(skin=(190, 140, 110), hair=(25, 22, 22), clothing=(150, 40, 45))
CLEO = Person(skin=(236, 196, 172), hair=(190, 150, 90), clothing=(225, 220, 205))


def portrait(side: int, person: Person = ANNA) -> Picture:
    """Head and shoulders on a plain wall, ``side`` x ``side`` pixels."""
    canvas = _Canvas(max(side, 200), person)
    canvas.draw()
    picture = cv2.GaussianBlur(canvas.pixels, (0, 0), canvas.unit * 0.5)
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def scene(
    size: tuple[int, int], people: Sequence[tuple[Person, tuple[int, int], int]], roll: float = 0.0
) -> tuple[Picture, list[Points]]:
    """A picture of ``size`` (width, height) with people ``(who, (left, top), side)``.

    ``roll`` turns every head by so many degrees clockwise. People may stand over the edge.
    Returns the picture and the landmarks of each person.
    """
    picture = np.full((size[1], size[0], 3), WALL, np.uint8)
    landmarks = []
    for person, (left, top), side in people:
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), -roll, 1.0)
        drawn = cv2.warpAffine(portrait(side, person), turn, (side, side), borderValue=WALL)
        x, y = max(0, left), max(0, top)
        right, bottom = min(size[0], left + side), min(size[1], top + side)
        picture[y:bottom, x:right] = drawn[y - top : bottom - top, x - left : right - left]
        points = LANDMARKS * side
        landmarks.append((points @ turn[:, :2].T + turn[:, 2] + (left, top)).astype(np.float32))
    return picture, landmarks


class _Canvas:
    """Draws in percent of the side, on four times the pixels."""

    def __init__(self, side: int, person: Person) -> None:
        self.pixels = np.full((side * 2, side * 2, 3), WALL, np.uint8)
        self.unit = side * 2 / 100
        self._person = person

    def draw(self) -> None:
        skin, hair = self._person.skin, self._person.hair
        self._oval((50, 100), (40, 22), self._person.clothing)
        self._oval((50, 82), (9, 10), _shade(skin, 0.8))
        self._oval((50, 44), (31, 36), hair)
        self._oval((50, 52), (25, 33), skin)
        self._oval((50, 28), (24, 14), hair)
        for side in (-1, 1):
            self._eye(50 + side * 10.5)
            self._oval((50 + side * 24.5, 52), (3, 6), _shade(skin, 0.85))
        self._oval((50, 60), (4.5, 3), _shade(skin, 0.85))
        self._oval((50, 55), (1.8, 8), _shade(skin, 1.07))
        for side in (-1, 1):
            self._oval((50 + side * 3, 61.5), (1.5, 1), _shade(skin, 0.5))
        self._oval((50, 71), (9, 3.6), (175, 80, 80))
        self._oval((50, 70.6), (8, 0.7), (90, 30, 30))

    def _eye(self, x: float) -> None:
        self._oval((x, 46), (6.5, 4), _shade(self._person.skin, 0.78))
        self._oval((x, 47), (5.2, 2.6), (245, 245, 245))
        self._oval((x, 47), (2.5, 2.5), (70, 45, 30))
        self._oval((x, 47), (1.1, 1.1), (10, 10, 10))
        self._oval((x, 42), (7, 1.4), self._person.hair)

    def _oval(self, centre: tuple[float, float], radii: tuple[float, float], colour: Colour) -> None:
        middle = (round(centre[0] * self.unit), round(centre[1] * self.unit))
        axes = (max(1, round(radii[0] * self.unit)), max(1, round(radii[1] * self.unit)))
        cv2.ellipse(self.pixels, middle, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue
