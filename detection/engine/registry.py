"""Which models there are, what they need, and whether a file is the one that was measured.

The registry is ``weights/registry.toml``. A model whose bytes differ from the recorded SHA-256 is refused:
figures, thresholds and calibration belong to exactly one file.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.engine.errors import ModelError
from detection.engine.types import MediaKind, ModelInfo

WEIGHTS = Path(__file__).parent / "weights"
REGISTRY = "registry.toml"


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Outside these a face is not judged; units as in :class:`~detection.engine.types.Quality`."""

    min_face_size: float
    min_sharpness: float
    min_brightness: float
    min_detail: float
    min_frames: int  # usable frames that a track of a video needs
    # Video codecs smooth blocks over where JPEG leaves them: what is left to be seen means a greater loss there.
    max_video_blockiness: float = 1.4
    max_image_blockiness: float = 2.0

    def max_blockiness(self, kind: MediaKind) -> float:
        return self.max_image_blockiness if kind is MediaKind.IMAGE else self.max_video_blockiness


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """From logits to verdicts, for one kind of file: the mean of many frames spreads less than a single picture.

    ``slope`` and ``intercept`` are Platt's: sigmoid(slope * logit + intercept). Thresholds are on that score.
    """

    slope: float
    intercept: float
    suspicious: float
    manipulated: float

    def __post_init__(self) -> None:
        if not 0 < self.suspicious <= self.manipulated < 1:
            raise ValueError("thresholds must satisfy 0 < suspicious <= manipulated < 1")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One registered model."""

    name: str
    version: str
    path: Path
    sha256: str
    architecture: str
    input_size: int  # pixels, square
    crop_margin: float  # see preprocessing.crop_box
    image: OperatingPoint
    video: OperatingPoint
    quality: QualityLimits
    metrics: Mapping[str, Any]
    data: tuple[str, ...]
    licence: str

    def point(self, kind: MediaKind) -> OperatingPoint:
        return self.image if kind is MediaKind.IMAGE else self.video

    def info(self, kind: MediaKind) -> ModelInfo:
        point = self.point(kind)
        return ModelInfo(self.name, self.version, self.sha256, point.manipulated, point.suspicious)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_registry(folder: Path = WEIGHTS) -> tuple[str, dict[str, ModelSpec]]:
    """Return the default model's name and all entries. Raises ModelError when an entry is malformed."""
    path = folder / REGISTRY
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        specs = {name: _spec(name, entry, folder) for name, entry in document["models"].items()}
        default = str(document["default"])
    except OSError as error:
        raise ModelError(f"The model registry {path.name} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model registry {path.name} is malformed: {error!r}.") from error
    if default not in specs:
        raise ModelError(f"The registry's default model {default!r} is not registered.")
    return default, specs


def _spec(name: str, entry: Mapping[str, Any], folder: Path) -> ModelSpec:
    return ModelSpec(
        name=name,
        version=str(entry["version"]),
        path=folder / str(entry["file"]),
        sha256=str(entry["sha256"]),
        architecture=str(entry["architecture"]),
        input_size=int(entry["input_size"]),
        crop_margin=float(entry["crop_margin"]),
        image=OperatingPoint(**{key: float(value) for key, value in entry["image"].items()}),
        video=OperatingPoint(**{key: float(value) for key, value in entry["video"].items()}),
        quality=QualityLimits(**entry["quality"]),
        metrics=dict(entry["metrics"]),
        data=tuple(entry["data"]),
        licence=str(entry["licence"]),
    )


def find_model(name: str | None = None, folder: Path = WEIGHTS) -> ModelSpec:
    """Return a registered model (the default one for ``None``) whose file is present and unchanged.

    Raises:
        ModelError: unknown name, missing file, or a file whose hash differs.
    """
    default, specs = read_registry(folder)
    spec = specs.get(name or default)
    if spec is None:
        raise ModelError(f"There is no model named {name!r}; registered are: {', '.join(sorted(specs))}.")
    if not spec.path.is_file():
        raise ModelError(f"The weights of model {spec.name!r} are missing ({spec.path.name}).")
    if sha256_of(spec.path) != spec.sha256:
        raise ModelError(
            f"The weights of model {spec.name!r} ({spec.path.name}) are not the file that was measured: "
            "the SHA-256 differs from the registry. Restore the file or register it as a new model."
        )
    return spec
