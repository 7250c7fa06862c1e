"""A collection of drawn faces on disk, with a manifest: what training, release and experiments are tested on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tests.portraits import portrait

SIDE = 160
LANDMARKS = "60,65 100,65 80,85 65,110 95,110"


def write_collection(folder: Path, *, people: int = 40, methods: Sequence[str] = ("patch",)) -> Path:
    """Write two frames of a real and of a manipulated video of every person, and return the manifest's path.

    Manipulated ones carry something green on the mouth. Several ``methods`` take turns.
    """
    rng = np.random.default_rng(0)
    rows = []
    for person in range(people):
        for i in range(4):
            label = i % 2
            picture = np.clip(portrait(SIDE) + rng.normal(0, 6, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            if label:
                picture[100:130, 55:105, 1] = 255
            name = f"{person}-{i}.png"
            cv2.imwrite(str(folder / name), picture[..., ::-1])
            rows.append(
                {
                    "file": name,
                    "label": label,
                    "dataset": "drawn",
                    "method": methods[person % len(methods)] if label else "real",
                    "split": "val" if person >= people * 3 // 4 else "train",
                    "group": f"person{person}",
                    "source": f"{person}-{label}",
                    "frame": i,
                    "landmarks": LANDMARKS,
                }
            )
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return manifest
