"""Labelled face crops, listed in a manifest.

A manifest is a CSV with one face crop a row: ``file, label (0 real, 1 manipulated), dataset, method,
split (train|calibration|val), group, source, frame, box_*, landmarks``; ``landmarks`` are points "x,y" in crop
pixels: the person's right eye, left eye, nose tip, and either the mouth's centre or its right and left corner.
:mod:`detection.training.prepare` writes such manifests.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from detection.engine.types import FloatArray, RGBImage

# One group in eight is kept out of training, to calibrate on. Chosen by hash: adding data moves nothing.
CALIBRATION_SHARE = 8

# OpenForensics numbers its pictures anew in each of its folders: the same name in train and val is another
# picture (compared: unrelated), so a name identifies a picture within its split only.
NUMBERED_BY_SPLIT = frozenset({"openforensics"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled face. ``video`` names what its frames are averaged over."""

    path: Path
    label: int
    dataset: str
    method: str
    split: str  # train, calibration or val
    group: str
    video: str
    landmarks: FloatArray  # (4, 2), as in detection.engine.types.Face

    @property
    def origin(self) -> str:
        return f"{self.dataset}-{self.method}"

    def load(self) -> RGBImage:
        """Decode the crop to RGB uint8 (height, width, 3)."""
        picture = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"cannot read {self.path}")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def linked_groups(groups: Iterable[str], separator: str = "_") -> dict[str, str]:
    """Join groups that share an identity: ``033``, ``097``, ``033_097`` and ``097_033`` become one.

    A family is named after the first of its members in alphabetical order, so the name depends neither on the order
    of the groups nor on which of several manifests they stand in.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    groups = list(groups)
    for group in groups:
        first, *others = group.split(separator)
        for name in others:
            low, high = sorted((root(first), root(name)))
            parent[high] = low
    return {group: root(group.split(separator)[0]) for group in groups}


def in_calibration(family: str) -> bool:
    return hashlib.sha256(family.encode()).digest()[0] % CALIBRATION_SHARE == 0


def read_manifest(path: Path) -> list[Sample]:
    """Read one manifest; see :func:`read_manifests`."""
    return read_manifests([path])


def read_manifests(paths: Sequence[Path]) -> list[Sample]:
    """Read every row of every manifest, in order.

    Rows of ``train`` whose identity falls into the calibration share are moved there, unless the manifest names
    calibration rows of that dataset itself. Identities are linked across all manifests: read together what is used
    together.

    Raises:
        ValueError: somebody would be in two splits, or a row's landmarks are neither four nor five points.
    """
    tables = [(path, _rows(path)) for path in paths]
    everybody = [row["group"] for _, rows in tables for row in rows if row["dataset"] == "ffpp"]
    pairs = linked_groups(everybody)
    samples = []
    for path, rows in tables:
        settled = {row["dataset"] for row in rows if row["split"] == "calibration"}
        for row in rows:
            family = pairs.get(row["group"], row["group"]) if row["dataset"] == "ffpp" else row["group"]
            samples.append(_sample(path.parent, row, family, settled))
    _check_disjoint(samples)
    return samples


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _sample(folder: Path, row: dict[str, str], family: str, settled: Collection[str]) -> Sample:
    dataset, split = row["dataset"], row["split"]
    scope = f"{dataset}/{split}" if dataset in NUMBERED_BY_SPLIT else dataset
    if split == "train" and dataset not in settled and in_calibration(f"{dataset}/{family}"):
        split = "calibration"
    return Sample(
        path=folder / row["file"],
        label=int(row["label"]),
        dataset=dataset,
        method=row["method"],
        split=split,
        group=f"{scope}/{family}",
        video=f"{dataset}/{row['method']}/{row['source']}",
        landmarks=four_points(row["landmarks"]),
    )


def four_points(text: str) -> FloatArray:
    """The landmarks of a manifest row as (4, 2): of two mouth corners their middle is kept."""
    points = np.array([[float(v) for v in p.split(",")] for p in text.split()], np.float32)
    if points.shape == (4, 2):
        return points
    if points.shape == (5, 2):
        return np.concatenate([points[:3], points[3:].mean(axis=0, keepdims=True)])
    raise ValueError(f"landmarks must be four or five points: {text!r}")


def _check_disjoint(samples: Iterable[Sample]) -> None:
    split_of: dict[str, str] = {}
    for sample in samples:
        if split_of.setdefault(sample.group, sample.split) != sample.split:
            raise ValueError(f"{sample.group} is in both {split_of[sample.group]} and {sample.split}: {sample.path}")


def leave_out(samples: Iterable[Sample], origins: Collection[str]) -> list[Sample]:
    """All samples but those of ``origins`` ("ffpp-faceswap"): what to train on to be tested on the rest.

    Raises:
        ValueError: an origin has no sample, so that a misspelt one is not silently trained on.
    """
    samples = list(samples)
    unknown = set(origins) - {sample.origin for sample in samples}
    if unknown:
        raise ValueError(f"nothing to leave out: {', '.join(sorted(unknown))}")
    return [sample for sample in samples if sample.origin not in origins]
