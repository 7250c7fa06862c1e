"""What is kept of the faces of one file: figures of all, pictures of some."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detection.engine.album import Album, portrait_rank
from detection.engine.types import FaceScore
from tests.engine.builders import face_score


def faces(seed: int, count: int, tracks: int) -> list[FaceScore]:
    """In no order, with many equal scores."""
    chance = np.random.default_rng(seed)
    return [
        face_score(
            float(chance.integers(0, 9)),
            time=float(place),
            track=int(chance.integers(0, tracks)),
            face_size=float(chance.integers(60, 70)),
        )
        for place in range(count)
    ]


def pictured(album: Album) -> set[int]:
    assert all((score.crop is None) == (score.evidence is None) for score in album.scores)
    return {place for place, score in enumerate(album.scores) if score.crop is not None}


@pytest.mark.parametrize("seed", range(4))
def test_the_worst_keep_their_pictures_and_the_best_portrait_of_each_person(seed: int):
    album, added = Album(10), faces(seed, 200, tracks=4)
    for place in range(0, 200, 8):
        album.add(added[place : place + 8])
        assert len(pictured(album)) <= 10 + 4, "also midway"
    worst = sorted(range(200), key=lambda place: -added[place].score)[:10]
    of_track = [[place for place in range(200) if added[place].track == track] for track in range(4)]
    portraits = [max(places, key=lambda place: portrait_rank(added[place])) for places in of_track]
    assert pictured(album) == {*worst, *portraits}


def test_figures_stay_as_they_are():
    album, added = Album(1), faces(0, 50, tracks=2)
    album.add(added)
    bare = [replace(score, crop=None, evidence=None) for score in added]
    assert [replace(score, crop=None, evidence=None) for score in album.scores] == bare


def test_a_crowd_gets_only_so_many_portraits():
    album = Album(10)
    album.add(face_score(-1.0, track=track) for track in range(500))
    assert len(pictured(album)) == 10


def test_without_a_bound_all_is_kept():
    album, added = Album(None), faces(0, 50, tracks=2)
    album.add(added)
    assert album.scores == added
    assert pictured(album) == set(range(50))
