"""How hard the search for faces looks: everywhere where it must, and only where they were in between."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from detection.engine import search as search_module
from detection.engine.faces import BlazeFaceDetector
from detection.engine.search import THOROUGH_EVERY, FaceSearch
from detection.engine.tracking import scene_of
from detection.engine.types import Face, RGBImage
from tests.portraits import ANNA, BEN, WALL, Person, Picture, scene

SIZE = (1920, 1080)
SMALL = 120  # the side of a portrait whose face the whole picture is too coarse for
Standing = tuple[Person, tuple[int, int], int]


class Counting(BlazeFaceDetector):
    """Notes how it was asked."""

    def __init__(self) -> None:
        super().__init__(threads=2)
        self.asked = ""

    def detect(self, image: RGBImage) -> list[Face]:
        self.asked += "d"
        return super().detect(image)

    def follow(self, image: RGBImage, faces: Sequence[Face]) -> list[Face]:
        self.asked += "f"
        return super().follow(image, faces)


@pytest.fixture
def detector() -> Counting:
    return Counting()


def picture(*people: Standing, wall: int = 1) -> Picture:
    """In front of a wall by which the place is known again."""
    image, _ = scene(SIZE, people)
    tiles = np.random.default_rng(wall).integers(90, 200, (9, 16, 3), dtype=np.uint8)
    backdrop = cv2.resize(tiles, SIZE, interpolation=cv2.INTER_LINEAR)
    plain = (image == WALL).all(axis=2)
    image[plain] = backdrop[plain]
    return image


def found(detector: Counting, *pictures: Picture, apart: float = 1.0) -> list[int]:
    search = FaceSearch(detector)
    return [len(search.find(image, second * apart, scene_of(image))) for second, image in enumerate(pictures)]


def test_it_looks_everywhere_once_and_then_where_the_faces_were(detector: Counting) -> None:
    walk = [picture((ANNA, (200 + 60 * step, 300), SMALL)) for step in range(THOROUGH_EVERY + 2)]
    assert found(detector, *walk) == [1] * len(walk)
    assert detector.asked == "d" + "f" * (THOROUGH_EVERY - 1) + "d" + "f"


def test_in_a_long_video_it_looks_everywhere_more_often(detector: Counting) -> None:
    still = [picture((ANNA, (200, 300), SMALL))] * 5
    assert found(detector, *still, apart=4.0) == [1] * 5
    assert detector.asked == "dffdf"


def test_a_crowd_is_looked_for_everywhere(detector: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MOST_FOLLOWED", 1)
    both = picture((ANNA, (200, 300), SMALL), (BEN, (1500, 700), SMALL))
    assert found(detector, both, both) == [2, 2]
    assert detector.asked == "dd"


def test_a_detector_that_cannot_follow_looks_everywhere(detector: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "follow", lambda image, faces: None)
    one = picture((ANNA, (200, 300), SMALL))
    assert found(detector, one, one) == [1, 1]
    assert detector.asked == "dd"


def test_a_face_is_followed_to_where_it_is(detector: Counting) -> None:
    before, now = picture((ANNA, (200, 300), SMALL)), picture((ANNA, (330, 250), SMALL))
    [followed] = detector.follow(now, detector.detect(before))
    [face] = detector.detect(now)
    eyes = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
    assert np.linalg.norm(followed.landmarks - face.landmarks, axis=1).max() < 0.15 * eyes


def test_a_small_face_is_not_found_by_following_somebody_else(detector: Counting) -> None:
    """Or the others would show nothing."""
    both = picture((ANNA, (200, 300), SMALL), (BEN, (1500, 700), SMALL))
    anna = min(detector.detect(both), key=lambda face: face.box.left)
    assert len(detector.follow(both, [anna])) == 1


def test_somebody_is_lost_from_sight_and_found_elsewhere(detector: Counting) -> None:
    places = [picture((ANNA, (200, 300), SMALL)), picture((ANNA, (1500, 700), SMALL))]
    assert found(detector, *places) == [1, 1]
    assert detector.asked == "dfd"


def test_after_a_cut_it_looks_everywhere(detector: Counting) -> None:
    scenes = [picture((ANNA, (200, 300), SMALL)), picture((BEN, (200, 300), SMALL), wall=2)]
    assert found(detector, *scenes) == [1, 1]
    assert detector.asked == "dd"


def test_while_nobody_is_there_it_looks_everywhere(detector: Counting) -> None:
    assert found(detector, picture(), picture(), picture((ANNA, (1500, 700), SMALL))) == [0, 0, 1]
    assert detector.asked == "ddd"


def test_who_joins_without_a_cut_is_seen_before_long(detector: Counting) -> None:
    alone, both = ((ANNA, (200, 300), SMALL),), ((ANNA, (200, 300), SMALL), (BEN, (1500, 700), SMALL))
    counts = found(detector, picture(*alone), *[picture(*both)] * THOROUGH_EVERY)
    assert (counts[0], counts[1], counts[-1]) == (1, 1, 2)
