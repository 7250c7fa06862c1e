"""What is kept of the faces of one file: figures of all, pictures of some.

A crop takes some hundred kilobytes and an hour looked at thoroughly has thousands of faces, of which only the worst are
ever shown, and one of each person. The others lose crop and map as soon as that is known.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import replace

from detection.engine.types import FaceScore

MOST_PICTURES = 256  # of the worst faces, and of people as many again


def portrait_rank(score: FaceScore) -> tuple[float, float]:
    """How well one recognises a person by this face: the largest is the best, not the most suspicious."""
    return score.quality.face_size, score.quality.sharpness


class Album:
    """The faces of one file.

    Attributes:
        scores: all of them, as they were added.
    """

    def __init__(self, most: int | None) -> None:
        """``most``: how many of the worst faces keep their pictures, and how many people a portrait; None: all."""
        self.scores: list[FaceScore] = []
        self._most = most
        self._worst: list[tuple[float, int]] = []  # a heap of scores and places, negative: of equal ones the first stay
        self._portraits: dict[int, int] = {}  # track -> place

    def add(self, new: Iterable[FaceScore]) -> None:
        for score in new:
            self.scores.append(score)
            if self._most is not None:
                self._choose(len(self.scores) - 1, self._most)

    def rename(self, tracks: Mapping[tuple[float, int], int]) -> None:
        """Give faces of the track that a (time, track) names to another one. Portraits that were chosen stay so."""
        self.scores = [replace(s, track=tracks.get((s.time, s.track), s.track)) for s in self.scores]

    def _choose(self, place: int, most: int) -> None:
        score = self.scores[place]
        in_doubt = {place}
        heapq.heappush(self._worst, (score.score, -place))
        if len(self._worst) > most:
            in_doubt.add(-heapq.heappop(self._worst)[1])
        best = self._portraits.get(score.track)
        if len(self._portraits) < most if best is None else portrait_rank(score) > portrait_rank(self.scores[best]):
            self._portraits[score.track] = place
            in_doubt |= set() if best is None else {best}
        for doubtful in in_doubt:
            if not self._is_wanted(doubtful):
                self.scores[doubtful] = replace(self.scores[doubtful], crop=None, evidence=None)

    def _is_wanted(self, place: int) -> bool:
        score = self.scores[place]
        return self._portraits.get(score.track) == place or (score.score, -place) in self._worst
