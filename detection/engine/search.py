"""How hard to look for faces in each frame of a file.

Nearly all the time of an analysis goes into the search for small faces: a dozen views of every frame. People stay where
they are for longer than the second or so between two frames, so most frames need only be looked at as a whole and where
the faces were: detection now and then with tracking in between, as in MediaPipe (arXiv 1907.05047, section 4).
"""

from __future__ import annotations

import math

from detection.engine.faces import FaceDetector
from detection.engine.tracking import same_scene
from detection.engine.types import Face, FloatArray, RGBImage

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
