"""``python -m benchmarks.changes.network FOLDER``: a network for LiteRT and for TensorFlow, to compare the two.

The shipped network exists for LiteRT only. This one has its architecture and random weights, which multiply as fast; it
is stretched so that its answers to different pictures differ about as much as a trained one's. A process of its own,
because TensorFlow takes half a gigabyte. Needs requirements-training.txt.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tomli_w

from detection.engine.networks import ensemble, mobilenetv2
from detection.engine.registry import MANIFEST, ModelFile, find_model, sha256_of
from detection.training.export import served, to_litert
from detection.training.packaging import KERAS_FILE, LITERT_FILE, manifest

MEMBERS = 2


def build(size: int) -> Any:
    """The shipped architecture for crops of ``size`` pixels, with random weights."""
    keras.utils.set_random_seed(1)
    pictures = np.random.default_rng(1).integers(0, 256, (8, size // 32, size // 32, 3)).astype(np.uint8)
    crops = pictures.repeat(32, axis=1).repeat(32, axis=2)
    members, calibrations = [], []
    for _ in range(MEMBERS):
        member = mobilenetv2.build(size)
        logits = np.asarray(member(crops, training=False)["logit"])
        slope = 1 / float(logits.std())
        members.append(member)
        calibrations.append((slope, -slope * float(logits.mean())))
    return ensemble.build(members, calibrations)


def write(folder: Path) -> None:
    """Write the model folder ``FOLDER/fresh-v0``."""
    shipped = find_model()
    target = folder / "fresh-v0"
    target.mkdir(parents=True)
    network = build(shipped.input_size)
    file, kept = to_litert(network, target / LITERT_FILE, half=False), target / KERAS_FILE
    served(network).save(kept)
    other = ModelFile(kept, sha256_of(kept))
    spec = replace(shipped, name="fresh", version="0", path=file, sha256=sha256_of(file), tensorflow=other, metrics={})
    (target / MANIFEST).write_text(tomli_w.dumps(manifest(spec)), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
