"""Turns collections of videos and pictures into face crops with a manifest.

Everything comes through the engine's own reader and face detector, and every crop, real or manipulated, is cut,
reduced and encoded by the same lines, so that a class cannot be told by how its crops were made.

In the output folder: crops, ``manifest.csv`` (see :mod:`detection.training.datasets`), ``skipped.csv`` (what gave no
crop, and why) and ``journal.jsonl`` (one finished medium a line, from which an interrupted run goes on).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from tqdm import tqdm

from detection.engine.errors import EngineError
from detection.engine.faces import BlazeFaceDetector, FaceDetector, YuNetDetector
from detection.engine.factory import FaceDetectorName
from detection.engine.media import open_media
from detection.engine.preprocessing import crop_box, face_scale
from detection.engine.search import FaceSearch
from detection.engine.tracking import FaceTracker, scene_of
from detection.engine.types import Box, Face, FloatArray, Frame, RGBImage
from detection.training.layouts import Medium, read_layout

# Widths of a face in units of face_scale, as in preprocessing.quality.
FACE_WIDTH: Final = 2.2

COLUMNS: Final = (
    "file", "label", "dataset", "method", "split", "group", "source", "frame",
    "box_x", "box_y", "box_w", "box_h", "landmarks",
)  # fmt: skip

Skip = Literal["other_side", "no_face", "face_too_small", "failed", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the crops depend on; a folder holds crops of one set of options."""

    frames: int = 10  # of each video, evenly
    faces: Literal["largest", "all"] = "largest"  # "all" labels bystanders of a manipulated video manipulated, too
    context: float = 4.5  # side of the crop in units of face_scale: 1.6 times YuNet's box; serving cuts 2.9
    longest_side: int = 288  # pixels; larger crops are reduced, smaller ones never enlarged
    jpeg_quality: int | None = 92  # None: PNG
    min_face: float = 48.0  # pixels; narrower faces are not kept
    face_detector: FaceDetectorName = "blazeface"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run made. ``crops`` by split and origin, ``skipped`` by reason."""

    manifest: Path
    crops: dict[str, int]
    media: int
    skipped: dict[str, int]
    empty_frames: int  # frames of the media used in which the face was not found


@dataclass(frozen=True, slots=True)
class _Crop:
    """A face cut out of a frame, in its own coordinates."""

    track: int
    frame: int
    size: float  # width of the face in the frame, pixels
    box: FloatArray  # left, top, width, height
    landmarks: FloatArray  # (4, 2)
    picture: RGBImage


@dataclass(slots=True)
class _Outcome:
    """What came out of one medium: rows of the manifest, or a reason for having none."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    reason: Skip | None = None
    message: str = ""
    empty_frames: int = 0


def prepare(
    source: Path,
    output: Path,
    *,
    layout: str | None = None,
    options: Options = Options(),
    yunet_model: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Summary:
    """Cut the faces out of every medium under ``source``; go on where an earlier run was stopped.

    Args:
        source: a collection in one of :data:`~detection.training.layouts.LAYOUTS`.
        output: folder to write to; made when it does not exist.
        layout: which layout; recognised when left out.
        options: what the crops depend on.
        yunet_model: YuNet's ONNX file, needed for ``options.face_detector == "yunet"``.
        limit: at most so many media of each split and origin, chosen by ``seed``.
        seed: of that choice.

    Raises:
        LayoutError: ``source`` is laid out otherwise.
        ValueError: ``output`` holds crops made with other options.
        ModelError: the face detector's model is missing.
    """
    media = _limited(read_layout(source, layout), limit, seed)
    return prepare_media(media, output, options=options, yunet_model=yunet_model)


def prepare_media(
    media: Sequence[Medium],
    output: Path,
    *,
    options: Options = Options(),
    yunet_model: Path | None = None,
    still_wanted: Callable[[Medium], bool] = lambda _medium: True,
) -> Summary:
    """The same for media that somebody else has listed; see :func:`prepare`.

    Args:
        still_wanted: asked directly before each is cut, because others may take hours.
    """
    output.mkdir(parents=True, exist_ok=True)
    detector = _face_detector(options, yunet_model)
    outcomes: dict[str, _Outcome] = {}
    with _Journal(output / "journal.jsonl", options) as journal:
        for medium in tqdm(media, unit="file", desc="preparing"):
            outcome = journal.find(medium)
            if outcome is None and not still_wanted(medium):
                outcome = _Outcome(reason="withdrawn")  # not in the journal: the next run asks again
            elif outcome is None:
                outcome = _cut_faces(medium, output, detector, options)
                journal.add(medium, outcome)
            outcomes[medium.source] = outcome
    rows = [_with_labels(medium, row) for medium in media for row in outcomes[medium.source].rows]
    _write_csv(output / "manifest.csv", COLUMNS, rows)
    skipped = [(medium, outcomes[medium.source]) for medium in media if outcomes[medium.source].reason]
    _write_csv(
        output / "skipped.csv",
        ("source", "origin", "reason", "message"),
        [
            {"source": medium.source, "origin": medium.origin, "reason": outcome.reason, "message": outcome.message}
            for medium, outcome in skipped
        ],
    )
    return Summary(
        manifest=output / "manifest.csv",
        crops=dict(sorted(Counter(f"{r['split']} {r['dataset']}-{r['method']}" for r in rows).items())),
        media=len(media),
        skipped=dict(Counter(str(outcome.reason) for _, outcome in skipped)),
        empty_frames=sum(outcome.empty_frames for outcome in outcomes.values()),
    )


def _limited(media: list[Medium], limit: int | None, seed: int) -> list[Medium]:
    """Chosen by hash, so that a larger limit keeps what a smaller one chose."""
    if limit is None:
        return media
    taken: Counter[tuple[str, str]] = Counter()
    chosen = set()
    for medium in sorted(media, key=lambda m: hashlib.sha256(f"{seed}/{m.source}".encode()).digest()):
        kind = (medium.split, medium.origin)
        taken[kind] += 1
        if taken[kind] <= limit:
            chosen.add(medium.source)
    return [medium for medium in media if medium.source in chosen]


def _face_detector(options: Options, yunet_model: Path | None) -> FaceDetector:
    if options.face_detector == "blazeface":
        return BlazeFaceDetector()
    if yunet_model is None:
        raise ValueError("the face detector yunet needs its model file")
    return YuNetDetector(yunet_model)


def _with_labels(medium: Medium, row: dict[str, Any]) -> dict[str, Any]:
    """Who belongs to which split is read anew in every run: only the crops are kept in the journal."""
    labels = {name: getattr(medium, name) for name in ("label", "dataset", "method", "split", "group")}
    return {**row, **labels}


# --- one medium -----------------------------------------------------------------------------------------------------


def _cut_faces(medium: Medium, output: Path, detector: FaceDetector, options: Options) -> _Outcome:
    if not medium.split:
        return _Outcome(reason="other_side", message="it shows people of two sides of the split")
    try:
        with open_media(medium.path) as opened:
            crops, frames = _crops(opened.sample(options.frames), detector, options)
    except EngineError as error:
        return _Outcome(reason="failed", message=f"{error.code}: {error.message}")
    except Exception as error:  # noqa: BLE001  (one odd file in thousands must not end a night's run; it is reported)
        return _Outcome(reason="failed", message=repr(error))
    if not crops:
        return _Outcome(reason="no_face", message=f"none in {frames} frames")
    large = [crop for crop in crops if crop.size >= options.min_face]
    if not large:
        return _Outcome(reason="face_too_small", message=f"at most {max(c.size for c in crops):.0f} pixels wide")
    tracks = _chosen_tracks(large, frames, options)
    rows = [_write_crop(crop, medium, output, options) for crop in large if crop.track in tracks]
    return _Outcome(rows=rows, empty_frames=frames - len({crop.frame for crop in large if crop.track in tracks}))


def _crops(frames: Iterator[Frame], detector: FaceDetector, options: Options) -> tuple[list[_Crop], int]:
    """Every face of every frame, and how many frames there were. Frames are dropped as soon as they are cut."""
    search, tracker = FaceSearch(detector), FaceTracker()  # as when serving
    crops: list[_Crop] = []
    count = 0
    for frame in frames:
        count += 1
        scene = scene_of(frame.image)
        found = search.find(frame.image, frame.time, scene)
        faces = tracker.update(frame.index, frame.time, frame.image, found, scene)
        crops += [crop for track, face in faces if (crop := _cut(frame, track, face, options)) is not None]
    return crops, count


def _cut(frame: Frame, track: int, face: Face, options: Options) -> _Crop | None:
    """Cut at the picture's edge and not mirrored over it: whoever cuts closer later mirrors what serving would.

    None where landmarks far outside the picture leave nothing to cut.
    """
    height, width = frame.image.shape[:2]
    wanted = crop_box(face.landmarks, options.context)
    inside = Box(max(0, wanted.left), max(0, wanted.top), min(width, wanted.right), min(height, wanted.bottom))
    picture = frame.image[
        inside.top : max(inside.bottom, inside.top + 1), inside.left : max(inside.right, inside.left + 1)
    ]
    scale = min(1.0, options.longest_side / max(picture.shape[:2]))
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    corner = np.array([inside.left, inside.top], np.float32)
    box = np.array([face.box.left, face.box.top, face.box.right, face.box.bottom], np.float32)
    box = np.concatenate([box[:2] - corner, box[2:] - box[:2]]) * np.float32(scale)
    return _Crop(
        track=track,
        frame=frame.index,
        size=FACE_WIDTH * face_scale(face.landmarks),
        box=box,
        landmarks=(face.landmarks - corner) * np.float32(scale),
        picture=np.ascontiguousarray(picture),
    )


def _chosen_tracks(crops: Sequence[_Crop], frames: int, options: Options) -> set[int]:
    """The person who fills most of the video, or everybody who is in at least half of its frames."""
    seen = Counter(crop.track for crop in crops)
    if options.faces == "all":
        return {track for track, count in seen.items() if 2 * count >= frames}
    filled: Counter[int] = Counter()
    for crop in crops:
        filled[crop.track] += round(crop.size**2)
    return {max(filled, key=lambda track: (filled[track], -track))}


def _write_crop(crop: _Crop, medium: Medium, output: Path, options: Options) -> dict[str, Any]:
    suffix = "png" if options.jpeg_quality is None else "jpg"
    # Sources are paths; two that differ in a slash only must not share a crop.
    name = f"{medium.source.replace('/', '_')}_{hashlib.sha256(medium.source.encode()).hexdigest()[:6]}"
    person = f"_{crop.track}" if options.faces == "all" else ""
    file = f"{medium.origin}/{name}{person}_{crop.frame:05d}.{suffix}"
    path = output / file
    path.parent.mkdir(parents=True, exist_ok=True)
    parameters = [] if options.jpeg_quality is None else [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality]
    done, data = cv2.imencode(f".{suffix}", cv2.cvtColor(crop.picture, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise ValueError(f"OpenCV cannot encode {suffix}")
    path.write_bytes(data.tobytes())
    x, y, width, height = (round(float(v), 1) for v in crop.box)
    points = " ".join(f"{px:.2f},{py:.2f}" for px, py in crop.landmarks)
    return {
        "file": file,
        "source": f"{medium.source}{person}",
        "frame": crop.frame,
        "box_x": x,
        "box_y": y,
        "box_w": width,
        "box_h": height,
        "landmarks": points,
    }


# --- what is kept ---------------------------------------------------------------------------------------------------


class _Journal:
    """Finished media, one JSON object a line; the first line holds the options.

    A medium whose file has changed since, or whose crops are gone, counts as unfinished.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = asdict(options)
        self._done: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> _Journal:
        lines = self._lines()
        if lines and lines[0] != self._options:
            raise ValueError(f"{self._path.parent} holds crops made with other options: {lines[0]}")
        self._done = {line["source"]: line for line in lines[1:]}
        # Written anew: a run that was killed may have left half a line at the end.
        with self._path.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in (self._options, *self._done.values()))
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def find(self, medium: Medium) -> _Outcome | None:
        """What an earlier run made of this medium."""
        line = self._done.get(medium.source)
        if line is None or line["stamp"] != _stamp(medium):
            return None
        outcome = _Outcome(**line["outcome"])
        complete = all((self._path.parent / row["file"]).is_file() for row in outcome.rows)
        return outcome if complete else None

    def add(self, medium: Medium, outcome: _Outcome) -> None:
        line = {"source": medium.source, "stamp": _stamp(medium), "outcome": asdict(outcome)}
        self._file.write(f"{json.dumps(line)}\n")
        self._file.flush()

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        text = self._path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _stamp(medium: Medium) -> list[Any]:
    """What tells that a file is the one that was read, and that it was meant to be."""
    try:
        status = medium.path.stat()
    except OSError:
        return [bool(medium.split), medium.origin, None, None]
    return [bool(medium.split), medium.origin, status.st_size, status.st_mtime_ns]


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Whole or not at all: a manifest of half the crops would look like a small collection."""
    draft = path.with_suffix(".tmp")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    draft.replace(path)


def report(summary: Summary, write: Callable[[str], None] = print) -> None:
    """Tell what a run made, a line a fact."""
    for origin, count in summary.crops.items():
        write(f"{count:7d}  {origin}")
    write(f"{sum(summary.crops.values()):7d}  crops from {summary.media - sum(summary.skipped.values())} files")
    for reason, count in summary.skipped.items():
        write(f"{count:7d}  files skipped: {reason}")
    write(f"{summary.empty_frames:7d}  frames without their face")
    write(f"{summary.manifest}")
