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
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from detection.engine.errors import ModelError
from detection.engine.types import Box, Face, FloatArray, RGBImage

BLAZEFACE_MODEL = Path(__file__).parent / "weights" / "faces" / "face_detection_full_range.tflite"
BLAZEFACE_SHA256 = "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"

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


class _View:
    """A square of a picture, perhaps rotated and perhaps reaching over the picture's edges.

    Args:
        centre: of the square, pixels of the picture.
        side: of the square, pixels.
        angle: by which the square is rotated clockwise in the picture, radians.

    Coordinates are continuous: pixel ``i`` covers ``i`` to ``i + 1``.
    """

    def __init__(self, centre: tuple[float, float], side: float, angle: float = 0.0) -> None:
        # Whole pixels, so that the cut needs no interpolation of its own.
        self.side = max(1, round(side))
        self._reach = math.ceil(self.side * (abs(math.cos(angle)) + abs(math.sin(angle))))
        self._corner = (round(centre[0] - self._reach / 2), round(centre[1] - self._reach / 2))
        middle = self._reach / 2
        self.centre = np.array([self._corner[0] + middle, self._corner[1] + middle], np.float32)
        self._rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], np.float32)
        self._angle = angle

    def cut(self, image: RGBImage, size: int) -> RGBImage:
        """What the view shows, ``size`` x ``size`` pixels, black outside the picture."""
        upright_size = max(1, round(size * self._reach / self.side))
        upright = _cut_square(image, self._corner, self._reach, upright_size)
        if not self._angle:
            return upright
        matrix = self._rotation * (self.side / size) * (upright_size / self._reach)
        # cv2 counts from the middle of the first pixel, we count from its edge.
        shift = upright_size / 2 - 0.5 - matrix @ np.full(2, size / 2 - 0.5, np.float32)
        rotated = cv2.warpAffine(
            upright,
            np.concatenate([matrix, shift[:, None]], axis=1),
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        return np.asarray(rotated, np.uint8)

    def to_picture(self, points: FloatArray, size: int) -> FloatArray:
        """Map points (..., 2) of the cut to the picture."""
        scaled = (points - np.float32(size / 2)) * np.float32(self.side / size)
        mapped: FloatArray = (scaled @ self._rotation.T + self.centre).astype(np.float32)
        return mapped


def _cut_square(image: RGBImage, corner: tuple[int, int], side: int, size: int) -> RGBImage:
    """The square with this left-top corner, resized to ``size`` and padded with black."""
    height, width = image.shape[:2]
    left, top = max(corner[0], 0), max(corner[1], 0)
    right, bottom = min(corner[0] + side, width), min(corner[1] + side, height)
    square = np.zeros((size, size, 3), np.uint8)
    if right <= left or bottom <= top:
        return square
    scale = size / side
    x = min(round((left - corner[0]) * scale), size - 1)
    y = min(round((top - corner[1]) * scale), size - 1)
    inner = (
        min(max(round((right - left) * scale), 1), size - x),
        min(max(round((bottom - top) * scale), 1), size - y),
    )
    square[y : y + inner[1], x : x + inner[0]] = _resized(image[top:bottom, left:right], inner)
    return square


def _resized(image: RGBImage, size: tuple[int, int]) -> RGBImage:
    """``image`` in ``size`` (width, height), without aliasing."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    smaller = size[0] < image.shape[1]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


class _BlazeFaceNetwork:
    """The network itself: a view of a picture in, detections out.

    For each cell of a 48x48 grid it predicts one box and six landmarks, in input pixels relative to
    the middle of the cell: (x, y, width, height, 6 times (x, y)). The landmarks are the person's right
    eye, left eye, nose tip, mouth centre, and both ears, which we do not use. Grid and order are
    MediaPipe's (``face_detection_full_range``): one layer, stride 4, offset 0.5, fixed anchor size.
    """

    SIZE = 192
    STRIDE = 4

    def __init__(self, path: Path, sha256: str, threads: int) -> None:
        content = _read_model(path, sha256)
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input: int = self._interpreter.get_input_details()[0]["index"]
        outputs = self._interpreter.get_output_details()
        self._regressors: int = next(o["index"] for o in outputs if o["shape"][-1] == 16)
        self._classifiers: int = next(o["index"] for o in outputs if o["shape"][-1] == 1)
        middles = np.arange(self.STRIDE / 2, self.SIZE, self.STRIDE, dtype=np.float32)
        x, y = np.meshgrid(middles, middles)
        self._anchors = np.stack([x.ravel(), y.ravel()], axis=1)  # (2304, 2)

    def look(self, image: RGBImage, view: _View, min_confidence: float) -> list[_Detection]:
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
        threads: of the LiteRT interpreter.
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
    # A crowd costs at most so many close-ups, the most confident finds first.
    MAX_CANDIDATES = 64

    def __init__(self, threads: int = 1, min_confidence: float = 0.55) -> None:
        self._network = _BlazeFaceNetwork(BLAZEFACE_MODEL, BLAZEFACE_SHA256, threads)
        self._min_confidence = min_confidence

    def detect(self, image: RGBImage) -> list[Face]:
        """See :meth:`FaceDetector.detect`."""
        close_ups = [self._close_up(image, found) for found in self._search(image)]
        sure = [seen for seen in close_ups if seen is not None and seen.confidence >= self._min_confidence]
        return _faces(image, _suppressed(sure))

    def _search(self, image: RGBImage) -> list[_Detection]:
        height, width = image.shape[:2]
        views = search_views(width, height)
        # The views are cut from one reduced copy in which the smallest of them has the network's
        # input size: one pass over a large photo instead of one per view.
        scale = min(1.0, self._network.SIZE / min(side for _, side in views))
        reduced = _resized(image, (max(1, round(width * scale)), max(1, round(height * scale))))
        found = []
        for (x, y), side in views:
            view = _View((x * scale, y * scale), side * scale)
            found += self._network.look(reduced, view, self.SEARCH_CONFIDENCE)
        found = _suppressed(found)[: self.MAX_CANDIDATES]
        return [_Detection(f.box / scale, f.landmarks / scale, f.confidence) for f in found]

    def _close_up(self, image: RGBImage, found: _Detection) -> _Detection | None:
        """Look at a find again; ``None`` when there is no face after all."""
        roll = found.roll if abs(found.roll) > self.UPRIGHT else 0.0
        x, y = found.centre.tolist()
        seen = self._network.look(image, _View((x, y), found.side * self.CLOSE_UP, roll), self._min_confidence)
        same = [s for s in seen if _overlap(s.box, found.box)[0] > SAME_FACE_IOU]
        return max(same, key=lambda s: s.confidence, default=None)


# The network's input shows faces from about 12 pixels: tiles of 500 pixels show faces from 32. A picture
# of more than 900 lines has larger tiles, which show faces from 1/30 of its short side.
FINEST_TILE = 500
TILES_PER_SHORT_SIDE = 1.8
# More than the width of the faces that a tile is meant for, and 12 views instead of 20 for 1080p.
TILE_OVERLAP = 0.2
MAX_TILES = 16


def search_views(width: int, height: int) -> list[tuple[tuple[float, float], float]]:
    """Squares ``((x, y of the centre), side)`` that a search of a picture of this size looks at."""
    long_side, short_side = max(width, height), min(width, height)
    whole = (width / 2, height / 2)
    views = [(whole, 2.0 * long_side), (whole, 1.0 * long_side)]
    finest = max(FINEST_TILE, short_side / TILES_PER_SHORT_SIDE)
    side = max(float(short_side), finest)
    while side >= finest:
        if side < 0.9 * long_side:
            views += _tiles(width, height, side)
        side = max(side / 2, finest) if side > 1.2 * finest else 0.0
    return views


def _tiles(width: int, height: int, side: float) -> list[tuple[tuple[float, float], float]]:
    xs, ys = _tile_centres(width, side), _tile_centres(height, side)
    while len(xs) * len(ys) > MAX_TILES:  # a very long picture
        side *= 1.25
        xs, ys = _tile_centres(width, side), _tile_centres(height, side)
    return [((x, y), side) for y in ys for x in xs]


def _tile_centres(length: int, side: float) -> list[float]:
    if side >= length:
        return [length / 2]
    count = math.ceil((length - side) / (side * (1 - TILE_OVERLAP))) + 1
    return [float(centre) for centre in np.linspace(side / 2, length - side / 2, count)]


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

    def _look(self, image: RGBImage, long_side: int) -> list[_Detection]:
        height, width = image.shape[:2]
        scale = min(1.0, long_side / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # YuNet wants BGR. Where its coarsest map (stride 32) is one cell wide or high, OpenCV reads memory that was
        # never written and reports faces of astronomical size with confidence 1: black is added up to two cells.
        reduced = cv2.cvtColor(_resized(image, size), cv2.COLOR_RGB2BGR)
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
