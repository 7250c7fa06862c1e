"""How hard to look for faces in each frame of a file.

Nearly all the time of an analysis goes into the search for small faces: a dozen views of every frame. People stay where
they are for longer than the second or so between two frames, so most frames need only be looked at as a whole and where
the faces were: detection now and then with tracking in between, as in MediaPipe (arXiv 1907.05047, section 4).
"""

from __future__ import annotations

from detection.engine.faces import FaceDetector
from detection.engine.tracking import same_scene
from detection.engine.types import Face, FloatArray, RGBImage

# A small face that comes in without a cut waits for so many frames at most.
THOROUGH_EVERY = 8


class FaceSearch:
    """Finds the faces in the frames of one file, one after the other; make a new one for each file.

    It looks everywhere in the first frame, after a cut, where nothing or less than before is to be seen, and in every
    eighth frame.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._faces: list[Face] = []
        self._scene: FloatArray | None = None
        self._followed = 0  # frames since the last one that was looked at everywhere

    def find(self, image: RGBImage, scene: FloatArray) -> list[Face]:
        """The faces in the next frame, of which ``scene_of`` gave ``scene``. See :meth:`FaceDetector.detect`."""
        before = self._scene
        known = self._faces if before is not None and same_scene(before, scene) else []
        self._scene = scene
        self._followed += 1
        if known and self._followed < THOROUGH_EVERY:
            found = self._detector.follow(image, known)
            if len(found) >= len(known):
                self._faces = found
                return found
        self._followed = 0
        self._faces = self._detector.detect(image)
        return self._faces
