"""How hard the search for faces looks: everywhere where it must, and only where they were in between."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from detection.engine import search as search_module
from detection.engine.faces import BlazeFaceDetector
from detection.engine.search import THOROUGH_EVERY, FaceSearch, Follower
from detection.engine.tracking import FaceTracker, scene_of
from detection.engine.types import Face, Frame, RGBImage
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


# --- in two passes ----------------------------------------------------------------------------------------------------


def frames(*pictures: Picture, apart: float = 1.0) -> list[Frame]:
    return [Frame(number, number * apart, image) for number, image in enumerate(pictures)]


def in_two_passes(
    detector: Counting, pictures: Sequence[Frame]
) -> tuple[list[list[int]], dict[tuple[float, int], int]]:
    """Each frame's tracks as they were said, every other frame first; and what the first ones became."""
    follower, said = Follower(detector, 12, twice=True), {}
    for frame in pictures[::2]:
        said[frame.index] = [track for track, _ in follower.see(frame)]
    follower.begin_again()
    for frame in pictures[1::2]:
        said[frame.index] = [track for track, _ in follower.see(frame)]
    return [said[frame.index] for frame in pictures], follower.renamed()


def test_two_passes_follow_people_as_one_does(detector: Counting) -> None:
    """Ben walks across to where Anna was, who went the other way; and Ben comes first between two frames."""
    ways = [((ANNA, (100 + 150 * step, 300), 300), (BEN, (1500 - 150 * step, 650), 300)) for step in range(8)]
    film = frames(*[picture(*(way if step else way[:1])) for step, way in enumerate(ways)])
    tracker, search = FaceTracker(), FaceSearch(detector)
    once = [
        sorted(
            (track, face.box.left)
            for track, face in tracker.update(f.index, f.time, f.image, search.find(f.image, f.time, scene_of(f.image)))
        )
        for f in film
    ]
    said, renamed = in_two_passes(detector, film)
    twice = [
        sorted(renamed.get((f.time, track), track) for track in tracks) for f, tracks in zip(film, said, strict=True)
    ]
    assert twice == [[track for track, _ in faces] for faces in once]
    assert [len(tracks) for tracks in twice] == [1, *[2] * 7]


def test_tracks_count_in_order_of_appearance_whenever_they_were_seen(detector: Counting) -> None:
    anna, ben = picture((ANNA, (200, 300), 300)), picture((BEN, (200, 300), 300), wall=2)
    said, renamed = in_two_passes(detector, frames(anna, ben, picture(), anna, ben))
    assert said == [[0], [1], [], [0], [1]]
    assert renamed == {(0.0, 0): 0, (4.0, 1): 1}
    said, renamed = in_two_passes(detector, frames(anna, picture(), ben, ben, anna))
    assert renamed == {(0.0, 0): 0, (2.0, 1): 1, (4.0, 0): 0}
    assert said[3] == [1]


def test_who_appears_between_is_counted_before_who_comes_later(detector: Counting) -> None:
    anna, ben = picture((ANNA, (200, 300), 300)), picture((BEN, (200, 300), 300), wall=2)
    said, renamed = in_two_passes(detector, frames(picture(), ben, anna))
    assert said == [[], [0], [0]], "as long as nobody knew better"
    assert renamed == {(2.0, 0): 1}


def test_a_second_pass_looks_where_the_first_found_faces(detector: Counting) -> None:
    still = [picture((ANNA, (200, 300), SMALL))] * 8
    said, _ = in_two_passes(detector, frames(*still))
    assert said == [[0]] * 8
    assert detector.asked == "dfff" + "ffff"


def test_between_the_passes_everything_is_looked_at_now_and_then(detector: Counting) -> None:
    still = [picture((ANNA, (200, 300), SMALL))] * (2 * THOROUGH_EVERY + 2)
    in_two_passes(detector, frames(*still, apart=0.5))
    assert detector.asked[: THOROUGH_EVERY + 1] == "d" + "f" * (THOROUGH_EVERY - 1) + "d"
    assert "d" in detector.asked[THOROUGH_EVERY + 1 :]
