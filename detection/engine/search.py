"""How hard to look for faces in each frame of a file.

Nearly all the time of an analysis goes into the search for small faces: a dozen views of every frame. People stay where
they are for longer than the second or so between two frames, so most frames need only be looked at as a whole and where
the faces were: detection now and then with tracking in between, as in MediaPipe (arXiv 1907.05047, section 4).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from detection.engine.faces import FaceDetector
from detection.engine.tracking import FaceTracker, Sighting, same_scene, scene_of, sighting_of
from detection.engine.types import Face, FloatArray, Frame, RGBImage

# A small face that comes in without a cut waits at most for so many frames, and so many seconds: the frames of a long
# video lie far apart.
THOROUGH_EVERY = 8
LONGEST_WAIT = 10.0
# Round each of more faces costs as much as everywhere.
MOST_FOLLOWED = 8


class FaceSearch:
    """Finds the faces in the frames of one file, one after the other; make a new one for each file.

    It looks everywhere in the first frame, after a cut, where nothing, a crowd or less than before is to be seen, in
    every eighth frame, and ten seconds after the last time.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._faces: list[Face] = []
        self._scene: FloatArray | None = None
        self._followed = 0  # frames since the last one that was looked at everywhere
        self._everywhere_at = -math.inf  # that one's time

    def find(self, image: RGBImage, time: float, scene: FloatArray) -> list[Face]:
        """The faces in the next frame, most confident first; see :meth:`FaceDetector.detect`.

        Args:
            time: of the frame, seconds.
            scene: what ``scene_of`` gives for it.
        """
        known = self._faces if self._scene is not None and same_scene(self._scene, scene) else []
        self._scene = scene
        self._followed += 1
        overdue = self._followed >= THOROUGH_EVERY or time - self._everywhere_at > LONGEST_WAIT
        if 0 < len(known) <= MOST_FOLLOWED and not overdue:
            found = self._detector.follow(image, known)
            if found is not None and len(found) >= len(known):
                self._faces = found
                return found
        self._followed, self._everywhere_at = 0, time
        self._faces = self._detector.detect(image)
        return self._faces

    @property
    def looked_everywhere(self) -> bool:
        """In the last frame."""
        return self._followed == 0

    def remember(self, time: float, scene: FloatArray, faces: Sequence[Face], *, everywhere: bool) -> None:
        """Take the next frame's faces as found, as another search found them; ``everywhere``: it looked so hard."""
        self._faces, self._scene = list(faces), scene
        self._followed += 1
        if everywhere:
            self._followed, self._everywhere_at = 0, time


@dataclass(frozen=True, slots=True)
class _Seen:
    """One frame of the first pass."""

    sighting: Sighting
    tracks: list[int]
    everywhere: bool


class Follower:
    """Finds and follows the faces of one file, whose frames may come in two passes, each in order of time.

    People are followed in order of time all the same: the second pass follows everybody anew, the faces of the first as
    they were found.

    Args:
        most_faces: of a frame, the most confident ones.
        twice: whether there may be a second pass. What it needs of the first takes memory.
    """

    def __init__(self, detector: FaceDetector, most_faces: int, *, twice: bool = False) -> None:
        self._detector = detector
        self._most_faces = most_faces
        self._keeps = twice
        self._search, self._tracker = FaceSearch(detector), FaceTracker()
        self._seen: deque[_Seen] = deque()
        self._renamed: dict[tuple[float, int], int] = {}

    def see(self, frame: Frame) -> list[tuple[int, Face]]:
        """The faces of the next frame, the most confident first, and whose tracks they belong to."""
        if not self._keeps:
            self._follow_until(frame.time)
        scene = scene_of(frame.image)
        faces = self._search.find(frame.image, frame.time, scene)[: self._most_faces]
        sighting = sighting_of(frame.index, frame.time, frame.image, faces, scene)
        tracks = self._tracker.follow(sighting)
        if self._keeps:
            self._seen.append(_Seen(sighting, tracks, self._search.looked_everywhere))
        return list(zip(tracks, faces, strict=True))

    def begin_again(self) -> None:
        """The frames that are still to come lie between those that were seen, or behind them."""
        self._keeps = False
        self._search, self._tracker = FaceSearch(self._detector), FaceTracker()

    def renamed(self) -> dict[tuple[float, int], int]:
        """After the second pass: time and track of each face of the first, and the track that it is in now."""
        self._follow_until(math.inf)
        return self._renamed

    def _follow_until(self, time: float) -> None:
        """The frames of the first pass, up to ``time``, that are still to come."""
        while self._seen and self._seen[0].sighting.time < time:
            seen = self._seen.popleft()
            sighting = seen.sighting
            self._search.remember(sighting.time, sighting.scene, sighting.faces, everywhere=seen.everywhere)
            for before, now in zip(seen.tracks, self._tracker.follow(sighting), strict=True):
                self._renamed[sighting.time, before] = now
