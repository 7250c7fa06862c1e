"""Labelled face crops, listed in a manifest.

A manifest is a CSV with one face crop a row: ``file, label (0 real, 1 manipulated), dataset, method,
split (train|val), group, source, frame, box_*, landmarks``; ``landmarks`` are five points "x,y" in crop
pixels: the person's right eye, left eye, nose tip, right and left mouth corner.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
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


def linked_groups(groups: Sequence[str]) -> dict[str, str]:
    """Join groups that share an identity: ``033``, ``097``, ``033_097`` and ``097_033`` become one."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for group in groups:
        first, *others = group.split("_")
        for name in (*others, group):
            parent[root(name)] = root(first)
    return {group: root(group) for group in groups}


def in_calibration(family: str) -> bool:
    return hashlib.sha256(family.encode()).digest()[0] % CALIBRATION_SHARE == 0


def read_manifest(path: Path) -> list[Sample]:
    """Read every row. Rows of ``train`` whose identity falls into the calibration share are moved there."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pairs = linked_groups([row["group"] for row in rows if row["dataset"] == "ffpp"])
    samples = []
    for row in rows:
        points = np.array([[float(v) for v in p.split(",")] for p in row["landmarks"].split()], np.float32)
        mouth = points[3:5].mean(axis=0, keepdims=True)
        family = pairs.get(row["group"], row["group"])
        split = row["split"]
        scope = f"{row['dataset']}/{split}" if row["dataset"] in NUMBERED_BY_SPLIT else row["dataset"]
        if split == "train" and in_calibration(f"{row['dataset']}/{family}"):
            split = "calibration"
        samples.append(
            Sample(
                path=path.parent / row["file"],
                label=int(row["label"]),
                dataset=row["dataset"],
                method=row["method"],
                split=split,
                group=f"{scope}/{family}",
                video=f"{row['dataset']}/{row['method']}/{row['source']}",
                landmarks=np.concatenate([points[:3], mouth]),
            )
        )
    return samples
