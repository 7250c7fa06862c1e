"""Who is who from frame to frame: on drawn people, whose places we know, and on real clips."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from detection.engine import tracking
from detection.engine.faces import BlazeFaceDetector
from detection.engine.media import open_media
from detection.engine.tracking import FaceTracker, assign
from detection.engine.types import Box, Face
from tests.portraits import ANNA, BEN, CLEO, FACE_WIDTH, Person, Picture, scene

SIZE = (960, 540)
Standing = tuple[Person, tuple[int, int], int]


def shot(people: Sequence[Standing], wall: int | None = None) -> tuple[Picture, list[Face]]:
    """A picture of these people and their faces, in the same order; ``wall`` changes the place."""
    image, landmarks = scene(SIZE, people)
    if wall is not None:
        stripes = np.random.default_rng(wall).integers(0, 256, (9, 16, 3), dtype=np.uint8)
        backdrop = cv2.resize(stripes, SIZE, interpolation=cv2.INTER_NEAREST)
        plain = (image == image[0, -1]).all(axis=2)
        image[plain] = backdrop[plain]
    return image, [_face(points, side) for points, (_, _, side) in zip(landmarks, people, strict=True)]


def _face(points: np.ndarray[tuple[int, ...], np.dtype[np.float32]], side: int) -> Face:
    x, y = points.mean(axis=0).tolist()
    half = side * FACE_WIDTH / 2
    return Face(Box(round(x - half), round(y - half), round(x + half), round(y + half)), points, 0.9)


def ids(tracker: FaceTracker, time: float, picture: tuple[Picture, list[Face]]) -> list[int]:
    image, faces = picture
    found = tracker.update(round(time * 25), time, image, faces)
    assert [face for _, face in found] == faces
    return [track for track, _ in found]


@pytest.mark.parametrize("gap", [0.1, 1.0, 5.0, 20.0])
def test_one_moving_person_is_one_track(gap: float) -> None:
    tracker = FaceTracker()
    seen = [ids(tracker, i * gap, shot([(ANNA, (100 + 40 * i, 120 + 9 * i), 240 + 6 * i)])) for i in range(8)]
    assert seen == [[0]] * 8


@pytest.mark.parametrize("gap", [0.1, 2.0, 20.0])
def test_two_people_side_by_side_do_not_swap_whatever_the_order_of_faces(gap: float) -> None:
    tracker = FaceTracker()
    for i in range(6):
        image, faces = shot([(ANNA, (150 + 8 * i, 150), 260), (BEN, (450 - 6 * i, 140), 250)])
        if i % 2:
            faces.reverse()
        expected = [1, 0] if i % 2 else [0, 1]
        assert ids(tracker, i * gap, (image, faces)) == expected


def test_people_who_look_the_same_are_told_apart_by_place() -> None:
    tracker = FaceTracker()
    for i in range(5):
        image, faces = shot([(ANNA, (100, 150), 240), (ANNA, (500, 150), 240)])
        if i % 2:
            faces.reverse()
        assert ids(tracker, float(i), (image, faces)) == ([1, 0] if i % 2 else [0, 1])


def test_people_who_change_places_in_a_long_gap_are_told_apart_by_looks() -> None:
    tracker = FaceTracker()
    assert ids(tracker, 0.0, shot([(ANNA, (100, 150), 260), (BEN, (500, 150), 260)])) == [0, 1]
    assert ids(tracker, 15.0, shot([(ANNA, (500, 150), 260), (BEN, (100, 150), 260)])) == [0, 1]


def test_somebody_who_leaves_and_comes_back_is_resumed() -> None:
    tracker = FaceTracker()
    assert ids(tracker, 0.0, shot([(ANNA, (60, 150), 260), (BEN, (560, 150), 260)])) == [0, 1]
    assert ids(tracker, 5.0, shot([(ANNA, (90, 150), 260)])) == [0]
    assert ids(tracker, 10.0, shot([])) == []
    assert ids(tracker, 40.0, shot([(BEN, (500, 170), 280), (ANNA, (100, 150), 260)])) == [1, 0]


def test_shot_and_reverse_shot_are_two_people_in_the_same_place() -> None:
    tracker = FaceTracker()
    anna, ben = (ANNA, (330, 130), 300), (BEN, (330, 130), 300)
    cuts = [shot([anna], 1), shot([anna], 1), shot([ben], 2), shot([anna], 1), shot([ben], 2), shot([ben], 2)]
    assert [ids(tracker, i * 2.0, cut) for i, cut in enumerate(cuts)] == [[0], [0], [1], [0], [1], [1]]


def test_a_cut_to_another_view_of_the_same_person_resumes_the_track() -> None:
    tracker = FaceTracker()
    assert ids(tracker, 0.0, shot([(CLEO, (40, 120), 240)], 3)) == [0]
    assert ids(tracker, 1.0, shot([(CLEO, (500, 60), 430)], 4)) == [0]


def test_one_face_per_track_and_frame() -> None:
    tracker = FaceTracker()
    ids(tracker, 0.0, shot([(ANNA, (300, 150), 260)]))
    image, [face] = shot([(ANNA, (300, 150), 260)])
    tracks = [track for track, _ in tracker.update(1, 1.0, image, [face, face, face])]
    assert len(set(tracks)) == 3
    assert 0 in tracks


def test_faces_at_the_edge_and_in_tiny_pictures_are_followed() -> None:
    image = np.full((20, 20, 3), 128, np.uint8)
    points = np.array([[-4, 5], [3, 5], [0, 9], [-1, 14]], np.float32)
    face = Face(Box(0, 0, 8, 18), points, 0.7)
    tracker = FaceTracker()
    assert [track for track, _ in tracker.update(0, 0.0, image, [face])] == [0]
    assert [track for track, _ in tracker.update(1, 0.1, image, [face])] == [0]


def test_frames_must_come_in_order() -> None:
    tracker = FaceTracker()
    ids(tracker, 1.0, shot([]))
    with pytest.raises(ValueError, match=r"frame 25 at 1\.0 s"):
        ids(tracker, 1.0, shot([]))


def test_the_assignment_is_the_cheapest_of_all() -> None:
    generator = np.random.default_rng(7)
    limit = 2.0
    for _ in range(150):
        rows, columns = generator.integers(0, 5, 2)
        costs = generator.random((rows, columns)) * 4
        choice = assign(costs, limit)
        taken = [column for column in choice if column is not None]
        assert len(taken) == len(set(taken))
        assert _cost(costs, choice, limit) == pytest.approx(_cheapest(costs, limit))


def _cost(costs: np.ndarray, choice: Iterable[int | None], limit: float) -> float:
    return sum(limit if column is None else float(costs[row, column]) for row, column in enumerate(choice))


def _cheapest(costs: np.ndarray, limit: float) -> float:
    rows, columns = costs.shape
    options = [*range(columns), *[None] * rows]
    return min(_cost(costs, choice, limit) for choice in set(itertools.permutations(options, rows)))


# --- real clips ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector() -> BlazeFaceDetector:
    return BlazeFaceDetector()


def followed(detector: BlazeFaceDetector, frames: Iterable[tuple[float, Picture]]) -> Counter[int]:
    tracker, lengths = FaceTracker(), Counter[int]()
    for index, (time, image) in enumerate(frames):
        lengths.update(track for track, _ in tracker.update(index, time, image, detector.detect(image)))
    return lengths


def pictures(clip: Path, count: int) -> list[tuple[float, Picture]]:
    with open_media(clip) as media:
        return [(frame.time, frame.image) for frame in media.sample(count)]


@pytest.mark.parametrize("name", ["035", "036", "159", "272", "712", "980", "992"])
def test_a_real_clip_of_one_person_is_one_track(detector: BlazeFaceDetector, shared_data: Path, name: str) -> None:
    frames = pictures(shared_data / "clips" / "val" / "real" / f"{name}.mp4", 12)
    lengths = followed(detector, frames)
    assert lengths[0] >= 0.9 * len(frames)
    assert lengths[0] >= 0.9 * lengths.total()


def test_a_real_clip_that_cuts_from_one_man_to_another_is_two_tracks(
    detector: BlazeFaceDetector, shared_data: Path
) -> None:
    frames = pictures(shared_data / "clips" / "val" / "real" / "175.mp4", 12)
    assert sorted(followed(detector, frames)) == [0, 1]


@pytest.mark.parametrize("spread", [1.0, 30.0])  # seconds between samples: as filmed, and far apart
def test_two_real_clips_side_by_side_are_two_tracks(
    detector: BlazeFaceDetector, shared_data: Path, spread: float
) -> None:
    clips = [pictures(shared_data / "clips" / "val" / "real" / f"{name}.mp4", 10) for name in ("035", "272")]
    both = []
    for (time, left), (_, right) in zip(*clips, strict=False):
        halves = [cv2.resize(half, (480, 360), interpolation=cv2.INTER_AREA) for half in (left, right)]
        both.append((time * spread, np.hstack(halves)))
    assert dict(followed(detector, both)) == {0: len(both), 1: len(both)}


class Seen(NamedTuple):
    """Somebody in a picture of noise, perhaps at its edge, where clothing and hair lie outside."""

    face: Face
    time: float
    place: np.ndarray
    looks: np.ndarray


def somebody(chance: np.random.Generator, time: float, walls: Sequence[Picture]) -> Seen:
    image = walls[chance.integers(len(walls))]
    x, y = chance.integers(0, 320), chance.integers(0, 180)
    wide = int(chance.integers(20, 60))
    points = np.array([[x - wide / 4, y], [x + wide / 4, y], [x, y + wide / 4], [x, y + wide / 2]], np.float32)
    face = Face(Box(x - wide // 2, y - wide // 2, x + wide // 2, y + wide // 2), points, 0.9)
    return Seen(face, time, tracking.scene_of(image), tracking._looks(image, face))


def cost(before: Seen, now: Seen) -> float:
    """What the module's head says, for one person and one face, number by number."""
    root = math.sqrt(now.time - before.time)
    sizes = [math.sqrt(one.face.box.area) for one in (before, now)]
    apart = math.dist(before.face.box.centre, now.face.box.centre) / math.sqrt(sizes[0] * sizes[1])
    steps = apart / (tracking.STEP + tracking.STEP_PER_SQRT_SECOND * root)
    growth = math.log(sizes[1] / sizes[0]) / (tracking.GROWTH + tracking.GROWTH_PER_SQRT_SECOND * root)
    place = min(tracking.FAR, (steps**2 + growth**2) / 2)
    if not tracking.same_scene(before.place, now.place):
        place = tracking.OTHER_SCENE
    total = weights = 0.0
    for one, other, (_, weight) in zip(before.looks, now.looks, tracking.REGIONS, strict=True):
        if one.any() and other.any():
            total += weight * math.sqrt(max(0.0, 1 - float(one @ other)))
            weights += weight
    return place + (total / weights if weights else tracking.NOTHING_IN_COMMON) / tracking.LOOKS_SCALE


def test_a_crowd_is_compared_as_each_of_it_would_be() -> None:
    chance = np.random.default_rng(1)
    walls = [chance.integers(0, 256, (9, 16, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1) for _ in range(3)]
    known = [somebody(chance, float(chance.uniform(0, 50)), walls) for _ in range(40)]
    people = tracking._People()
    for number, one in enumerate(known):
        people.add(number, one.face, tracking.Sighting(0, one.time, one.place, (one.face,), (one.looks,)), one.looks)
    faces = [somebody(chance, 60.0, walls[:1]) for _ in range(5)]
    looks = tuple(one.looks for one in faces)
    costs = people.costs(tracking.Sighting(0, 60.0, faces[0].place, tuple(one.face for one in faces), looks))
    expected = [[cost(before, now) for before in known] for now in faces]
    assert {len([region for region in one.looks if region.any()]) for one in known} >= {2, 3}
    assert len({tracking.same_scene(before.place, faces[0].place) for before in known}) == 2
    np.testing.assert_allclose(costs, expected, atol=2e-3)  # the root of what rounding leaves of 0


def test_in_too_large_a_crowd_those_who_were_not_seen_for_longest_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "MOST_REMEMBERED", 2)
    tracker = FaceTracker()
    anna, ben, cleo = ((person, (330, 130), 300) for person in (ANNA, BEN, CLEO))
    cuts = [shot([anna], 1), shot([ben], 2), shot([cleo], 3), shot([ben], 2), shot([anna], 1)]
    assert [ids(tracker, i * 2.0, cut) for i, cut in enumerate(cuts)] == [[0], [1], [2], [1], [3]]
