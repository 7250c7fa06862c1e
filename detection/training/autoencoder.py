"""Faces drawn anew by small autoencoders of our own: they differ from their originals in the traces of a decoder alone.

Every generator that paints a whole face ends in a decoder that enlarges a small map of features, and the way in which
it enlarges leaves traces: checkerboards of transposed convolutions (Odena et al., "Deconvolution and Checkerboard
Artifacts", Distill 2016), repeated spectra of interpolation (Durall et al., arXiv 2003.01826). A genuine face that went
through such a decoder shows the same person under the same light in the same quality, so that nothing else is left to
learn from (Rajan et al., "Aligned Datasets Improve Detection of Latent Diffusion-Generated Images", arXiv 2410.11835).

Runs on any backend of Keras.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detection.engine.types import RGBImage
from detection.training.datasets import Sample

METHOD = "autoencoder"
PATCH, BATCH = 96, 16  # pixels; pictures
QUALITY = 95  # of the JPEG files; the degradations of training come after it
SHADING = 3.0  # pixels; what is coarser is taken from the original
SHRINKS = 4  # how much smaller the map of features is than the picture, on a side


def _transposed(tensor: Any, width: int) -> Any:
    return keras.layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu")(tensor)


def _interpolated(tensor: Any, width: int, interpolation: str) -> Any:
    larger = keras.layers.UpSampling2D(2, interpolation=interpolation)(tensor)
    return keras.layers.Conv2D(width, 3, padding="same", activation="relu")(larger)


def _shuffled(tensor: Any, width: int) -> Any:
    """Sub-pixel convolution: Shi et al., arXiv 1609.05158."""
    wide = keras.layers.Conv2D(4 * width, 3, padding="same", activation="relu")(tensor)
    return _DepthToSpace()(wide)


class _DepthToSpace(keras.layers.Layer):
    """(batch, height, width, 4 n) to (batch, 2 height, 2 width, n)."""

    def call(self, tensor: Any) -> Any:
        shape = keras.ops.shape(tensor)
        cells = keras.ops.reshape(tensor, (shape[0], shape[1], shape[2], 2, 2, tensor.shape[3] // 4))
        cells = keras.ops.transpose(cells, (0, 1, 3, 2, 4, 5))
        return keras.ops.reshape(cells, (shape[0], 2 * shape[1], 2 * shape[2], tensor.shape[3] // 4))

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (shape[0], None, None, (shape[3] or 4) // 4)


# How a decoder enlarges: the tensor and the new width in channels to the tensor of twice the size.
ENLARGERS: Mapping[str, Callable[[Any, int], Any]] = MappingProxyType(
    {
        "transposed": _transposed,
        "nearest": lambda tensor, width: _interpolated(tensor, width, "nearest"),
        "bilinear": lambda tensor, width: _interpolated(tensor, width, "bilinear"),
        "shuffled": _shuffled,
    }
)


def build(enlarger: str, *, channels: int = 8, width: int = 32) -> Any:
    """Return a ``keras.Model``: RGB in 0..1 (batch, height, width, 3), sides multiples of 4, to the same drawn anew.

    Args:
        enlarger: a key of :data:`ENLARGERS`.
        channels: of the map of features, which is a quarter as wide and as high as the picture: 8 keep a sixth.
        width: channels of the finest layers.
    """
    pictures = keras.Input((None, None, 3), name="pictures")
    tensor = pictures
    for breadth in (width, 2 * width):
        tensor = keras.layers.Conv2D(breadth, 3, strides=2, padding="same", activation="relu")(tensor)
    tensor = keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu")(tensor)
    tensor = keras.layers.Conv2D(channels, 1, name="features")(tensor)
    tensor = keras.layers.Conv2D(2 * width, 3, padding="same", activation="relu")(tensor)
    for breadth in (2 * width, width):
        tensor = ENLARGERS[enlarger](tensor, breadth)
    drawn = keras.layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="drawn")(tensor)
    return keras.Model(pictures, drawn, name=f"autoencoder_{enlarger}")


def train(enlarger: str, samples: Sequence[Sample], *, steps: int, seed: int) -> Any:
    """Train one on patches of the real faces among ``samples``; returns the model.

    Raises:
        ValueError: there is no such enlarger, or no real face.
    """
    if enlarger not in ENLARGERS:
        raise ValueError(f"there is no enlarger {enlarger!r}; there are: {', '.join(ENLARGERS)}")
    pictures = [s.load() for s in samples if s.label == 0]
    if not pictures:
        raise ValueError("there is no genuine face to learn from")
    keras.utils.set_random_seed(seed)
    model = build(enlarger)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps, alpha=0.02)
    model.compile(keras.optimizers.Adam(rate), loss="mae", jit_compile=False)
    rng = np.random.default_rng(seed)
    for _ in tqdm(range(steps), unit="step", desc=enlarger, leave=False, disable=None):
        batch = np.stack([_patch(pictures[int(rng.integers(len(pictures)))], rng) for _ in range(BATCH)])
        model.train_on_batch(batch, batch)
    return model


def _patch(picture: RGBImage, rng: np.random.Generator) -> NDArray[np.float32]:
    height, width = picture.shape[:2]
    if min(height, width) < PATCH:
        factor = PATCH / min(height, width)
        size = (max(PATCH, round(width * factor)), max(PATCH, round(height * factor)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        height, width = picture.shape[:2]
    top, left = int(rng.integers(height - PATCH + 1)), int(rng.integers(width - PATCH + 1))
    return picture[top : top + PATCH, left : left + PATCH].astype(np.float32) / np.float32(255)


def redraw(model: Any, picture: RGBImage) -> RGBImage:
    """``picture``, RGB uint8 of any size, with its fine structure as the autoencoder draws it.

    Colours and shading stay the picture's own: a small decoder gets them a little wrong, which would tell by itself.
    """
    height, width = picture.shape[:2]
    down, right = -height % SHRINKS, -width % SHRINKS
    padded = cv2.copyMakeBorder(picture, 0, down, 0, right, cv2.BORDER_REFLECT_101)
    drawn = np.asarray(model(padded[None].astype(np.float32) / 255, training=False))[0, :height, :width]
    coarse = cv2.GaussianBlur(picture.astype(np.float32) - 255 * drawn, (0, 0), SHADING)
    return np.asarray(np.clip(255 * drawn + coarse + 0.5, 0, 255), np.uint8)


def redraw_manifest(manifest: Path, output: Path, models: Mapping[str, Any], *, every: int = 1) -> Path:
    """Draw the genuine training faces of a manifest anew, each by one of ``models`` in turn; returns the new manifest.

    Its rows are the originals' with the label 1 and the method ``autoencoder``: people stay in their split, and
    :class:`~detection.training.batches.FacePairs` pairs each with genuine faces of its group.

    Args:
        manifest: see :mod:`detection.training.datasets`.
        output: folder for the pictures and ``manifest.csv``.
        models: what :func:`train` returns, by name.
        every: takes only every so-manyth face.
    """
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] == "0" and row["split"] == "train"][::every]
    output.mkdir(parents=True, exist_ok=True)
    written = output / "manifest.csv"
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else (), lineterminator="\n")
        writer.writeheader()
        for i, row in enumerate(tqdm(rows, unit="face", desc="drawing anew", leave=False, disable=None)):
            picture = cv2.imread(str(manifest.parent / row["file"]), cv2.IMREAD_COLOR_RGB)
            if picture is None:
                raise ValueError(f"cannot read {row['file']}")
            drawn = redraw(list(models.values())[i % len(models)], np.asarray(picture, np.uint8))
            name = f"{i:05d}.jpg"
            cv2.imwrite(str(output / name), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            writer.writerow({**row, "file": name, "label": "1", "method": METHOD})
    return written
