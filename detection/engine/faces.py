"""Finds faces in one picture, with their landmarks.

Two face detectors behind one protocol:

* :class:`BlazeFaceDetector`, the default: MediaPipe's full-range BlazeFace (arXiv 1907.05047), whose
  weights the project carries (``weights/faces/``), run through LiteRT with our own decoding;
* :class:`YuNetDetector`: OpenCV's YuNet, for those who configure its model file.

Neither object may be shared between threads: both keep their input and output buffers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from detection.engine.errors import ModelError
from detection.engine.parallel import Team
from detection.engine.types import Box, Face, FloatArray, RGBImage
from detection.engine.views import View, resized, search_views

BLAZEFACE_MODEL = Path(__file__).parent / "weights" / "faces" / "face_detection_full_range.tflite"
BLAZEFACE_SHA256 = "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"

MOST_AT_ONCE = 8  # views; a picture has hardly more
# Narrower faces, in pixels, tell nothing about manipulation, and their landmarks are guesses.
MIN_FACE_WIDTH = 16
# Intersection over union from which two boxes mean the same face, and the part of the smaller
# box inside the larger one: a tile's edge can cut a face, and the piece looks like a face, too.
SAME_FACE_IOU = 0.3
SAME_FACE_INSIDE = 0.65


class FaceDetector(Protocol):
    """Finds faces. One object per thread."""

    @property
    def name(self) -> str:
        """Stable short name, for settings and reports."""

    def detect(self, image: RGBImage) -> list[Face]:
        """Return the faces in ``image`` (any size from 1x1), most confident first.

        Boxes are clipped to the picture; landmarks may lie outside it when its edge cuts the face.
        """

    def follow(self, image: RGBImage, faces: Sequence[Face]) -> list[Face] | None:
        """As :meth:`detect`, for less: ``faces`` are those of a picture shortly before.

        Finds them where they may have moved to, and others as far as they are large. None if it cannot look for less.
        """


@dataclass(frozen=True, slots=True)
class _Detection:
    """``box``: float32 (4,) left, top, right, bottom; ``landmarks``: float32 (4, 2). Pixels."""

    box: FloatArray
    landmarks: FloatArray
    confidence: float

    @property
    def centre(self) -> FloatArray:
        middle: FloatArray = (self.box[:2] + self.box[2:]) * np.float32(0.5)
        return middle

    @property
    def side(self) -> float:
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    @property
    def roll(self) -> float:
        """Angle of the line from the right to the left eye, radians; positive is clockwise."""
        x, y = self.landmarks[1] - self.landmarks[0]
        return math.atan2(float(y), float(x))


_Look = tuple[RGBImage, View, float]  # at a picture, where in it, and how sure a face must be


class _BlazeFaceNetwork:
    """The network itself: a view of a picture in, detections out.

    For each cell of a 48x48 grid it predicts one box and six landmarks, in input pixels relative to
    the middle of the cell: (x, y, width, height, 6 times (x, y)). The landmarks are the person's right
    eye, left eye, nose tip, mouth centre, and both ears, which we do not use. Grid and order are
    MediaPipe's (``face_detection_full_range``): one layer, stride 4, offset 0.5, fixed anchor size.
    """

    SIZE = 192
    STRIDE = 4

    def __init__(self, content: bytes) -> None:
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input: int = self._interpreter.get_input_details()[0]["index"]
        outputs = self._interpreter.get_output_details()
        self._regressors: int = next(o["index"] for o in outputs if o["shape"][-1] == 16)
        self._classifiers: int = next(o["index"] for o in outputs if o["shape"][-1] == 1)
        middles = np.arange(self.STRIDE / 2, self.SIZE, self.STRIDE, dtype=np.float32)
        x, y = np.meshgrid(middles, middles)
        self._anchors = np.stack([x.ravel(), y.ravel()], axis=1)  # (2304, 2)

    def look(self, image: RGBImage, view: View, min_confidence: float) -> list[_Detection]:
        """Detections in the view, in the coordinates of ``image``, not yet suppressed."""
        pixels = view.cut(image, self.SIZE)
        self._interpreter.set_tensor(self._input, pixels[None].astype(np.float32) / 127.5 - 1)
        self._interpreter.invoke()
        logits = self._interpreter.get_tensor(self._classifiers)[0, :, 0]
        chosen = np.flatnonzero(logits > math.log(min_confidence / (1 - min_confidence)))
        raw = self._interpreter.get_tensor(self._regressors)[0, chosen].reshape(-1, 8, 2)
        anchors = self._anchors[chosen]
        centres = view.to_picture(raw[:, 0] + anchors, self.SIZE)
        halves = np.abs(raw[:, 1]) * (view.side / self.SIZE / 2)
        landmarks = view.to_picture(raw[:, 2:6] + anchors[:, None], self.SIZE)
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        confidences = 1 / (1 + np.exp(-np.clip(logits[chosen], -50, 50)))
        return [_Detection(*each) for each in zip(boxes, landmarks, confidences.tolist(), strict=True)]


def _read_model(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The face detector's weights cannot be read ({path.name}: {error}).") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(
            f"The face detector's weights {path.name} are not the file this version was made for: "
            "the SHA-256 differs. Restore the file from the release."
        )
    return content


class BlazeFaceDetector:
    """MediaPipe's full-range BlazeFace, in two steps.

    *Search*: the network looks at the picture with a low threshold and at several scales: from twice as
    far as needed (it misses faces that fill its view), whole, and in overlapping square tiles for small
    faces. *Close-up*: every find is turned upright, cut out at the size that suits the network, and
    judged again. This second look decides. It rejects nearly all false finds of the search, and it
    makes the landmarks equally accurate for every size and roll of a face.

    Args:
        threads: in how many the network looks at a picture's views at the same time.
        min_confidence: that the close-up must reach, 0 to 1.

    Raises:
        ModelError: the weights are missing or are not the file that this code was made for.
    """

    name = "blazeface"

    # Measured on the labelled val faces and on 220 frames of 55 clips: a close-up of 3 widths and 0.55
    # keep over 99 % of the faces and none of the hands and shadows that the search takes for faces
    # (0.5 let a hand pass). A closer look places the eyes better but is less sure, a wider one the opposite.
    SEARCH_CONFIDENCE = 0.3
    # Side of the close-up, in widths of the face's box.
    CLOSE_UP = 3.0
    # A roll, in radians, below which turning would cost more sharpness than it brings.
    UPRIGHT = math.radians(6)
    # Side of the view in which a face that was there before is looked for, in widths of its box.
    WHERE_IT_MOVED = 5.0
    # A crowd costs at most so many close-ups, the most confident finds first.
    MAX_CANDIDATES = 64

    def __init__(self, threads: int = 1, min_confidence: float = 0.55) -> None:
        content = _read_model(BLAZEFACE_MODEL, BLAZEFACE_SHA256)
        self._looks: Team[_BlazeFaceNetwork, _Look, list[_Detection]] = Team(
            [_BlazeFaceNetwork(content) for _ in range(min(threads, MOST_AT_ONCE))],
            lambda network, look: network.look(*look),
        )
        self._min_confidence = min_confidence

    def detect(self, image: RGBImage) -> list[Face]:
        """See :meth:`FaceDetector.detect`."""
        height, width = image.shape[:2]
        views = search_views(width, height)
        # The views are cut from one reduced copy in which the smallest of them has the network's
        # input size: one pass over a large photo instead of one per view.
        scale = min(1.0, _BlazeFaceNetwork.SIZE / min(side for _, side in views))
        reduced = resized(image, (max(1, round(width * scale)), max(1, round(height * scale))))
        scaled = [View((x * scale, y * scale), side * scale) for (x, y), side in views]
        found = self._search(reduced, scaled)
        return self._judged(image, [_Detection(f.box / scale, f.landmarks / scale, f.confidence) for f in found])

    def follow(self, image: RGBImage, faces: Sequence[Face]) -> list[Face]:
        """See :meth:`FaceDetector.follow`. A view of the whole, and one round each face instead of all the tiles."""
        whole = View(*search_views(image.shape[1], image.shape[0])[1])
        return self._judged(image, self._search(image, [whole, *(self._round(face) for face in faces)]))

    def _round(self, face: Face) -> View:
        return View(face.box.centre, max(face.box.width, face.box.height) * self.WHERE_IT_MOVED)

    def _search(self, image: RGBImage, views: Sequence[View]) -> list[_Detection]:
        seen = self._looks.do([(image, view, self.SEARCH_CONFIDENCE) for view in views])
        return _suppressed(list(chain.from_iterable(seen)))[: self.MAX_CANDIDATES]

    def _judged(self, image: RGBImage, finds: Sequence[_Detection]) -> list[Face]:
        """Look at each find again, which decides."""
        looks = [(image, self._close_up(found), self._min_confidence) for found in finds]
        sure = []
        for found, seen in zip(finds, self._looks.do(looks), strict=True):
            same = [s for s in seen if _overlap(s.box, found.box)[0] > SAME_FACE_IOU]
            sure += sorted(same, key=lambda s: -s.confidence)[:1]
        return _faces(image, _suppressed(sure))

    def _close_up(self, found: _Detection) -> View:
        roll = found.roll if abs(found.roll) > self.UPRIGHT else 0.0
        x, y = found.centre.tolist()
        return View((x, y), found.side * self.CLOSE_UP, roll)


class YuNetDetector:
    """OpenCV's YuNet (``cv2.FaceDetectorYN``), which needs a model file.

    Args:
        model_path: ``face_detection_yunet_2023mar.onnx`` of the OpenCV Zoo, or a compatible file.
        min_confidence: 0 to 1.

    Raises:
        ModelError: there is no such file, or OpenCV cannot read it.
    """

    name = "yunet"

    # YuNet sees faces of about 10 to 300 pixels; pictures are reduced to this long side, and once
    # more to the smaller one for faces that fill the picture.
    LONG_SIDES = (960, 320)

    def __init__(self, model_path: Path, min_confidence: float = 0.7) -> None:
        if not model_path.is_file():
            raise ModelError(
                f"The YuNet model {model_path.name} is not there. Download face_detection_yunet_2023mar.onnx "
                "from the OpenCV Zoo and configure its path, or use the built-in face detector (blazeface)."
            )
        try:
            self._network = cv2.FaceDetectorYN.create(
                str(model_path), "", (320, 320), min_confidence, SAME_FACE_IOU, 5000
            )
        except cv2.error as error:
            raise ModelError(f"OpenCV cannot read the YuNet model {model_path.name}.") from error

    def detect(self, image: RGBImage) -> list[Face]:
        """See :meth:`FaceDetector.detect`."""
        found = []
        for long_side in self.LONG_SIDES:
            found += self._look(image, long_side)
        return _faces(image, _suppressed(found))

    def follow(self, image: RGBImage, faces: Sequence[Face]) -> None:
        """See :meth:`FaceDetector.follow`. Two passes are all that this detector ever makes."""

    def _look(self, image: RGBImage, long_side: int) -> list[_Detection]:
        height, width = image.shape[:2]
        scale = min(1.0, long_side / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # YuNet wants BGR. Where its coarsest map (stride 32) is one cell wide or high, OpenCV reads memory that was
        # never written and reports faces of astronomical size with confidence 1: black is added up to two cells.
        reduced = cv2.cvtColor(resized(image, size), cv2.COLOR_RGB2BGR)
        padding = (max(0, 64 - size[1]), max(0, 64 - size[0]))
        reduced = cv2.copyMakeBorder(reduced, 0, padding[0], 0, padding[1], cv2.BORDER_CONSTANT)
        self._network.setInputSize((reduced.shape[1], reduced.shape[0]))
        _, rows = self._network.detect(reduced)
        return [] if rows is None else [_yunet_detection(row, scale) for row in rows]


def _yunet_detection(row: FloatArray, scale: float) -> _Detection:
    """From YuNet's row: left, top, width, height, five landmarks, confidence."""
    x, y, width, height = row[:4] / scale
    eye_right, eye_left, nose, corner_right, corner_left = row[4:14].reshape(5, 2) / scale
    landmarks = np.stack([eye_right, eye_left, nose, (corner_right + corner_left) / 2])
    return _Detection(np.array([x, y, x + width, y + height], np.float32), landmarks.astype(np.float32), float(row[14]))


def _overlap(box: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Intersection over union, and the part of the smaller box that lies inside the larger one."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0, 0.0
    shared = float(width * height)
    areas = [float((b[2] - b[0]) * (b[3] - b[1])) for b in (box, other)]
    return shared / (sum(areas) - shared), shared / min(areas)


def _suppressed(found: Sequence[_Detection]) -> list[_Detection]:
    """The most confident detection of each face, most confident first."""
    kept: list[_Detection] = []
    for candidate in sorted(found, key=lambda f: -f.confidence):
        overlaps = (_overlap(candidate.box, other.box) for other in kept)
        if not any(iou > SAME_FACE_IOU or inside > SAME_FACE_INSIDE for iou, inside in overlaps):
            kept.append(candidate)
    return kept


def _faces(image: RGBImage, detections: Sequence[_Detection]) -> list[Face]:
    height, width = image.shape[:2]
    faces = []
    for found in detections:
        left, top, right, bottom = found.box.tolist()
        box = Box(
            min(max(round(left), 0), width),
            min(max(round(top), 0), height),
            min(max(round(right), 0), width),
            min(max(round(bottom), 0), height),
        )
        if min(box.width, box.height) >= MIN_FACE_WIDTH and _plausible(found):
            faces.append(Face(box, found.landmarks, found.confidence))
    return faces


def _plausible(found: _Detection) -> bool:
    """Whether the landmarks form a face: two eyes apart, mouth below them in the face's own frame.

    A mirrored order (mouth above the eyes when the right eye is on the left) is no rotation of a face.
    Loose enough for profiles, where the eyes are close to each other.
    """
    right_eye, left_eye, _, mouth = found.landmarks
    across, down = left_eye - right_eye, mouth - (right_eye + left_eye) / 2
    eyes = math.hypot(*across.tolist())
    if eyes < 0.1 * found.side or math.hypot(*down.tolist()) > found.side:
        return False
    mouth_below = float(across[0] * down[1] - across[1] * down[0]) / eyes
    return mouth_below > 0.15 * found.side
