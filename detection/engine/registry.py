"""Which models there are, what they need, and whether a file is the one that was measured.

The models that we ship stand in ``weights/registry.toml``. One that was brought or trained later is a folder of its
own, ``<name>-v<version>/``, with such an entry in ``model.toml`` beside its files. A model whose bytes differ from
the recorded SHA-256 is refused: figures, thresholds and calibration belong to exactly one file.
"""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from detection.engine.adapters import Adapter
from detection.engine.errors import ModelError
from detection.engine.types import MediaKind, ModelInfo

WEIGHTS = Path(__file__).parent / "weights"
REGISTRY = "registry.toml"
MANIFEST = "model.toml"

# They name a folder and stand in addresses and logs.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.]{0,15}")

_INCOMING = ".incoming-"  # begins the name of what is being copied
_STALE = 3600.0  # seconds after which nobody can be copying it any more


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
class ModelFile:
    """A file, or the folder of a SavedModel, and its :func:`sha256_of`."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One registered model.

    ``path`` is what identifies it: a ``.tflite`` wherever there is one. ``tensorflow`` is the same network as
    ``.keras`` or SavedModel; for a model that LiteRT cannot run it is ``path`` itself.
    """

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
    tensorflow: ModelFile | None = None
    adapter: Adapter | None = None  # None: made here: takes uint8 RGB, gives a logit and perhaps evidence
    provenance: Mapping[str, Any] = field(default_factory=dict)  # where an imported or exported one comes from

    @property
    def label(self) -> str:
        """Name and version in one word: the folder of an installed model, and what ``VERIFRAME_MODEL`` may say."""
        return f"{self.name}-v{self.version}"

    @property
    def litert(self) -> Path | None:
        """What LiteRT runs; None if there is nothing for it."""
        return self.path if self.path.suffix == ".tflite" else None

    def point(self, kind: MediaKind) -> OperatingPoint:
        return self.image if kind is MediaKind.IMAGE else self.video

    def info(self, kind: MediaKind) -> ModelInfo:
        point = self.point(kind)
        return ModelInfo(self.name, self.version, self.sha256, point.manipulated, point.suspicious)


def sha256_of(path: Path) -> str:
    """Of a file's bytes; of a folder, of the names and hashes of all files in it.

    Raises:
        ModelError: the folder holds a link: what it leads to would be copied and loaded without being counted.
    """
    if path.is_dir():
        inside = list(path.rglob("*"))
        if links := [file.name for file in inside if file.is_symlink()]:
            raise ModelError(f"{path.name} holds a link ({links[0]}): put the file itself there.")
        files = sorted(file for file in inside if file.is_file())
        listing = "".join(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_registry(folder: Path = WEIGHTS) -> tuple[str, dict[str, ModelSpec]]:
    """Return the default model's name and all entries. Raises ModelError when an entry is malformed."""
    path = folder / REGISTRY
    try:
        document = _parsed(path)
        specs = {name: _spec(name, entry, folder) for name, entry in document["models"].items()}
        default = str(document["default"])
    except OSError as error:
        raise ModelError(f"The model registry {path.name} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model registry {path.name} is malformed: {error!r}.") from error
    if default not in specs:
        raise ModelError(f"The registry's default model {default!r} is not registered.")
    return default, specs


def _parsed(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=_finite)


def _finite(text: str) -> float:
    """TOML has words for infinity and for no number at all; nothing about a model is either."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number that can be computed with")
    return number


def read_manifest(folder: Path) -> ModelSpec:
    """Return the model whose ``model.toml`` lies in ``folder``. Raises ModelError when it is missing or malformed."""
    path = folder / MANIFEST
    try:
        entry = _parsed(path)
        return _spec(str(entry["name"]), entry, folder)
    except OSError as error:
        raise ModelError(f"The model in {folder.name} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder.name}/{MANIFEST} is malformed: {error!r}.") from error


def read_installed(folder: Path) -> list[ModelSpec]:
    """All models that were installed in ``folder``, by name and version; none if it is not there.

    Raises:
        ModelError: one of them is malformed.
    """
    if not folder.is_dir():
        return []
    # What is being copied has a name with a dot in front.
    return [read_manifest(path.parent) for path in sorted(folder.glob(f"[!.]*/{MANIFEST}"))]


def _spec(name: str, entry: Mapping[str, Any], folder: Path) -> ModelSpec:
    version = str(entry["version"])
    check_label(name, version)
    adapter, tensorflow = entry.get("adapter"), entry.get("tensorflow")
    path, sha256 = _inside(folder, entry["file"]), str(entry["sha256"])
    if not (entry["input_size"] > 0 and entry["crop_margin"] > 0):
        raise ValueError("input_size and crop_margin must be greater than 0")
    same = None if path.suffix == ".tflite" else ModelFile(path, sha256)
    return ModelSpec(
        name=name,
        version=version,
        path=path,
        sha256=sha256,
        architecture=str(entry["architecture"]),
        input_size=int(entry["input_size"]),
        crop_margin=float(entry["crop_margin"]),
        image=OperatingPoint(**{key: float(value) for key, value in entry["image"].items()}),
        video=OperatingPoint(**{key: float(value) for key, value in entry["video"].items()}),
        quality=QualityLimits(**entry["quality"]),
        metrics=dict(entry["metrics"]),
        data=tuple(entry["data"]),
        licence=str(entry["licence"]),
        tensorflow=ModelFile(_inside(folder, tensorflow["file"]), str(tensorflow["sha256"])) if tensorflow else same,
        adapter=None if adapter is None else Adapter.of(adapter),
        provenance=dict(entry.get("provenance", {})),
    )


def check_label(name: str, version: str) -> None:
    """Raises ValueError unless these may name a model."""
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise ValueError(f"{name!r} {version!r} is no name and version: small letters, digits, '.', '_', '-'")


def _inside(folder: Path, name: str) -> Path:
    if name in ("", ".", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} does not lie beside its entry")
    return folder / name


def find_model(
    name: str | None = None,
    version: str | None = None,
    *,
    folder: Path = WEIGHTS,
    installed: Path | None = None,
) -> ModelSpec:
    """Return a model whose files are present and unchanged; the shipped default for no name.

    Args:
        name: of a model, or its label (``name-v2``).
        version: which one of that name; without it the shipped one, or the only one installed.
        folder: of the registry of shipped models.
        installed: folder of the installed models; None: there are none.

    Raises:
        ModelError: unknown or ambiguous name, missing file, or a file whose hash differs.
    """
    spec = locate_model(name, version, folder=folder, installed=installed)
    check_files(spec)
    return spec


def locate_model(
    name: str | None = None,
    version: str | None = None,
    *,
    folder: Path = WEIGHTS,
    installed: Path | None = None,
) -> ModelSpec:
    """The same without a look at its files. Raises ModelError for an unknown or ambiguous name."""
    default, shipped = read_registry(folder)
    wanted = name or default
    known = list(shipped.values())
    found = _called(wanted, version, known)
    if not found and installed:  # looked at only now: a broken model there must not keep a shipped one from its work
        known += _candidates(installed, wanted, version)
        found = _called(wanted, version, known)
    if not found:
        called = f"{wanted!r} {version}" if version else repr(wanted)
        labels = ", ".join(sorted(spec.label for spec in known))
        raise ModelError(f"There is no model named {called}; registered are: {labels}.")
    if len(found) > 1:
        raise ModelError(f"There are several models named {wanted!r}: {', '.join(spec.label for spec in found)}.")
    return found[0]


def _candidates(folder: Path, name: str, version: str | None) -> list[ModelSpec]:
    """The one in the folder of that label; if there is none all of them, to choose from."""
    own = folder / (f"{name}-v{version}" if version else name)
    return [read_manifest(own)] if (own / MANIFEST).is_file() else read_installed(folder)


def _called(name: str, version: str | None, specs: Iterable[ModelSpec]) -> list[ModelSpec]:
    return [spec for spec in specs if name in (spec.name, spec.label) and version in (None, spec.version)]


def check_files(spec: ModelSpec) -> None:
    """Raises ModelError when a file of the model is missing or its hash differs."""
    files = [ModelFile(spec.path, spec.sha256), *([spec.tensorflow] if spec.tensorflow else [])]
    for file in dict.fromkeys(files):
        if not file.path.exists():
            raise ModelError(f"The weights of model {spec.name!r} are missing ({file.path.name}).")
        if sha256_of(file.path) != file.sha256:
            raise ModelError(
                f"The weights of model {spec.name!r} ({file.path.name}) are not the file that was measured: "
                "the SHA-256 differs from the registry. Restore the file or register it as a new model."
            )


def install(source: Path, models_dir: Path) -> ModelSpec:
    """Copy a model folder to where the installed models are; there it is wholly or not at all.

    Installing the same model once more changes nothing.

    Raises:
        ModelError: the folder holds no sound model, or this name and version is another model already.
        OSError: the files cannot be copied.
    """
    spec = read_manifest(source)
    check_files(spec)
    target = models_dir / spec.label
    if not target.exists():
        models_dir.mkdir(parents=True, exist_ok=True)
        _tidy(models_dir)
        with tempfile.TemporaryDirectory(prefix=_INCOMING, dir=models_dir) as parent:
            incoming = Path(parent) / spec.label
            incoming.mkdir()
            for path in {source / MANIFEST, spec.path, *([spec.tensorflow.path] if spec.tensorflow else [])}:
                copy = shutil.copytree if path.is_dir() else shutil.copyfile
                copy(path, incoming / path.name)
            check_files(read_manifest(incoming))  # of what was copied, not of what lay there a moment ago
            _put_in_place(incoming, target)
    present = read_manifest(target)
    if _without_places(present) != _without_places(spec):
        raise ModelError(f"There is another model {spec.label} already; install this one under a new version.")
    return present


def _tidy(models_dir: Path) -> None:
    """Remove what processes left that were killed while they copied."""
    for left in models_dir.glob(f"{_INCOMING}*"):
        with suppress(FileNotFoundError):  # another process tidies up as well
            if left.stat().st_mtime < time.time() - _STALE:
                shutil.rmtree(left)


def _put_in_place(incoming: Path, target: Path) -> None:
    try:
        incoming.rename(target)
    except OSError:
        if not target.exists():  # another process was faster: what it installed is looked at next
            raise


def _without_places(spec: ModelSpec) -> ModelSpec:
    """What makes a model itself, wherever it lies and whenever it was made."""
    tensorflow = spec.tensorflow and replace(spec.tensorflow, path=Path(spec.tensorflow.path.name))
    return replace(spec, path=Path(spec.path.name), tensorflow=tensorflow, provenance={})
