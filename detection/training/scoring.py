"""Labelled faces and clips through the engine: what it would have said about each, and what it should have.

Nothing here decides anything. Crops are cut by ``engine.preprocessing``, scored by the file that ships, and
judged by ``engine.aggregation``; clips go through ``engine.pipeline`` from the first byte on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detection.engine import aggregation
from detection.engine.classifier import Classifier
from detection.engine.errors import EngineError
from detection.engine.pipeline import Pipeline
from detection.engine.preprocessing import crop_box, extract, quality
from detection.engine.registry import ModelSpec, OperatingPoint
from detection.engine.types import Box, Face, FaceScore, MediaInfo, MediaKind, Quality, RGBImage, Verdict
from detection.training.datasets import Sample, linked_groups

ALARMS = (Verdict.MANIPULATED,)
HINTS = (Verdict.MANIPULATED, Verdict.SUSPICIOUS)
# Pictures that were generated whole have no original: they are compared with portraits of the same kind.
PORTRAITS = ("ffhq-real", "amfd-real")
_NO_MAP = np.zeros((0, 0), np.float32)
_NO_CROP = np.zeros((0, 0, 3), np.uint8)

BATCH = 32

Change = Callable[[Sample, RGBImage], RGBImage]
Item = TypeVar("Item")


def progress(items: Sequence[Item], unit: str, what: str) -> Iterable[Item]:
    """``items`` with a progress bar, which a log file is spared."""
    return tqdm(items, unit=unit, desc=what, leave=False, disable=None)


@dataclass(frozen=True, slots=True)
class Detector:
    """A network with the geometry and the operating point that belong to it."""

    spec: ModelSpec
    classifier: Classifier


@dataclass(frozen=True, slots=True)
class Faces:
    """Scored crops: ``logits`` float32 (n,), and the quality that the engine measured on each."""

    samples: tuple[Sample, ...]
    logits: NDArray[np.float32]
    qualities: tuple[Quality, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """Files (or single faces) with the engine's answer, column by column, all of length n.

    ``scores`` are calibrated probabilities. Where the engine abstains, the score is what it would have said if
    it had to: leaving hard files out would make any ranking look better than it is.
    """

    names: tuple[str, ...]
    origins: NDArray[np.str_]  # dataset-method
    labels: NDArray[np.int64]
    clusters: tuple[str, ...]  # identity or source: the unit of resampling
    kinds: tuple[MediaKind, ...]
    scores: NDArray[np.float64]
    verdicts: tuple[Verdict, ...]

    def __len__(self) -> int:
        return len(self.names)

    def where(self, chosen: NDArray[np.bool_]) -> Judged:
        """The files of a mask (n,)."""
        index = np.flatnonzero(chosen)
        return Judged(
            names=tuple(self.names[i] for i in index),
            origins=self.origins[index],
            labels=self.labels[index],
            clusters=tuple(self.clusters[i] for i in index),
            kinds=tuple(self.kinds[i] for i in index),
            scores=self.scores[index],
            verdicts=tuple(self.verdicts[i] for i in index),
        )

    def having(self, verdicts: Sequence[Verdict]) -> NDArray[np.bool_]:
        """Mask of the files whose verdict is one of ``verdicts``."""
        return np.array([verdict in verdicts for verdict in self.verdicts], bool)


def score_faces(
    samples: Sequence[Sample], detector: Detector, *, change: Change | None = None, what: str = "scoring"
) -> Faces:
    """Score every crop with the serving geometry, after ``change`` (a degradation) if one is given.

    A change may alter the size of the picture; the landmarks follow.
    """
    spec = detector.spec
    crops: list[RGBImage] = []
    logits: list[NDArray[np.float32]] = []
    qualities: list[Quality] = []
    for sample in progress(samples, "face", what):
        picture, landmarks = sample.load(), sample.landmarks
        if change is not None:
            before = picture.shape
            picture = change(sample, picture)
            landmarks = landmarks * np.array([picture.shape[1] / before[1], picture.shape[0] / before[0]], np.float32)
        box = crop_box(landmarks, spec.crop_margin)
        crops.append(extract(picture, box, spec.input_size))
        qualities.append(quality(picture, Face(box, landmarks, 1.0), box, crops[-1]))
        if len(crops) == BATCH or len(qualities) == len(samples):
            logits.append(detector.classifier.predict(np.stack(crops)).logits)
            crops.clear()
    return Faces(tuple(samples), np.concatenate([np.zeros(0, np.float32), *logits]), tuple(qualities))


def judge_videos(faces: Faces, spec: ModelSpec) -> Judged:
    """Judge the frames of each video together, as the engine judges one person; a still is judged alone."""
    members: dict[str, list[int]] = {}
    for i, sample in enumerate(faces.samples):
        members.setdefault(sample.video, []).append(i)
    return _judged(faces, list(members.values()), spec)


def judge_images(faces: Faces, spec: ModelSpec) -> Judged:
    """Judge each face as if it were a picture by itself."""
    return _judged(faces, [[i] for i in range(len(faces.samples))], spec)


def _judged(faces: Faces, members: Sequence[Sequence[int]], spec: ModelSpec) -> Judged:
    firsts = [faces.samples[indices[0]] for indices in members]
    kinds = tuple(MediaKind.VIDEO if len(indices) > 1 else MediaKind.IMAGE for indices in members)
    answers = [_answer(faces, indices, kind, spec) for indices, kind in zip(members, kinds, strict=True)]
    return Judged(
        names=tuple(s.video if kind is MediaKind.VIDEO else str(s.path) for s, kind in zip(firsts, kinds, strict=True)),
        origins=np.array([s.origin for s in firsts], np.str_),
        labels=np.array([s.label for s in firsts], np.int64),
        clusters=tuple(s.group for s in firsts),
        kinds=kinds,
        scores=np.array([score for score, _ in answers], float),
        verdicts=tuple(verdict for _, verdict in answers),
    )


def _answer(faces: Faces, indices: Sequence[int], kind: MediaKind, spec: ModelSpec) -> tuple[float, Verdict]:
    # One second between frames: manifests know their order, not their times, and nothing here depends on more.
    media = MediaInfo(kind, "", 0, 0, "", duration=float(len(indices)) if kind is MediaKind.VIDEO else None)
    point = spec.point(kind)
    scores = [_face_score(faces, i, float(time), point) for time, i in enumerate(indices)]
    track = aggregation.judge_track(0, scores, media, spec)
    return _forced(track.score, scores, point), track.verdict


def _forced(score: float | None, scores: Sequence[FaceScore], point: OperatingPoint) -> float:
    return aggregation.calibrate(aggregation.mean_logit(scores), point) if score is None else score


def _face_score(faces: Faces, i: int, time: float, point: OperatingPoint) -> FaceScore:
    logit = float(faces.logits[i])
    score = aggregation.calibrate(logit, point)
    box = Box(0, 0, 0, 0)  # nothing that is judged depends on where the face was
    return FaceScore(
        track=0,
        index=round(time),
        time=time,
        box=box,
        crop_box=box,
        confidence=1.0,
        quality=faces.qualities[i],
        logit=logit,
        score=score,
        flagged=score >= point.manipulated,
        evidence=_NO_MAP,
        crop=_NO_CROP,
    )


@dataclass(frozen=True, slots=True)
class Clip:
    """A labelled video file, as the clips' manifest lists it."""

    path: Path
    label: int
    method: str
    group: str


def read_clips(manifest: Path, split: str = "val") -> list[Clip]:
    """Read the clips of one split. Columns: ``file, label, method, split, group``."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    people = linked_groups([row["group"] for row in rows])
    return [Clip(manifest.parent / row["file"], int(row["label"]), row["method"], people[row["group"]]) for row in rows]


def judge_clips(
    clips: Sequence[Clip], pipeline: Pipeline, *, change: Callable[[Path], Path] | None = None, what: str = "clips"
) -> tuple[Judged, dict[str, str]]:
    """Analyse whole files as they are served, after ``change`` (which returns the changed file) if one is given.

    Returns the answers, and the files that the engine refused with its error code. Where no face was found there
    is nothing to force a score from: such a file is ``inconclusive`` and ranks last, with 0, like one that raises
    no alarm.
    """
    done: list[Clip] = []
    scores: list[float] = []
    verdicts: list[Verdict] = []
    refused: dict[str, str] = {}
    for clip in progress(clips, "clip", what):
        try:
            result = pipeline.run(change(clip.path) if change else clip.path)
        except EngineError as error:
            refused[clip.path.name] = error.code
            continue
        tracks = [_forced(track.score, track.scores, pipeline.spec.video) for track in result.tracks]
        done.append(clip)
        scores.append(result.score if result.score is not None else max(tracks, default=0.0))
        verdicts.append(result.verdict)
    judged = Judged(
        names=tuple(clip.path.name for clip in done),
        origins=np.array([f"clip-{clip.method}" for clip in done], np.str_),
        labels=np.array([clip.label for clip in done], np.int64),
        clusters=tuple(clip.group for clip in done),
        kinds=(MediaKind.VIDEO,) * len(done),
        scores=np.array(scores, float),
        verdicts=tuple(verdicts),
    )
    return judged, refused


def reals_of(origin: str, origins: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Mask of the reals that a manipulation is compared with: its own source's, else portraits."""
    # Names of collections and of manipulations may have hyphens in them: the longest one that fits is the source.
    sources = [name for name in np.unique(origins) if name.endswith("-real") and origin.startswith(name[:-4])]
    return origins == max(sources, key=len) if sources else np.isin(origins, PORTRAITS)


def comparisons(judged: Judged) -> dict[str, NDArray[np.bool_]]:
    """The comparisons of what was judged, see :func:`beside_reals`."""
    return beside_reals(judged.labels, judged.origins)


def beside_reals(labels: NDArray[np.int64], origins: NDArray[np.str_]) -> dict[str, NDArray[np.bool_]]:
    """For each manipulation that has reals to compare with: the mask of both. Names in order."""
    masks = {}
    for origin in sorted({str(o) for o in origins[labels == 1]}):
        fakes, reals = origins == origin, reals_of(origin, origins) & (labels == 0)
        if reals.any():
            masks[origin] = fakes | reals
    return masks
