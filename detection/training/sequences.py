"""Train and measure a sequence model: features of a video's faces, in order, through a recurrent network.

The frames' features come from a run's own network or from a published backbone, once, and are kept in the folder of
the run. What comes out is measured beside the frame model on the same frames, alone and fused with it; it can
not be exported, imported or served (the README says what was found).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detection.engine.networks import sequence
from detection.engine.networks.backbones import BACKBONES, Weights
from detection.engine.registry import sha256_of
from detection.engine.types import FloatArray
from detection.training import calibrate, runs, tables
from detection.training.datasets import Sample, read_manifests
from detection.training.evaluate import Scores, auc_by_origin
from detection.training.families import SEQUENCE
from detection.training.singles import serving_crops
from detection.training.train import LOG_FILE, NOTE_FILE, WEIGHTS_FILE, read_noted

FEATURES_FILE = "features.npz"
BATCH = 16  # crops at once; more takes more memory and no less time on a CPU


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """What one run is made of; read from TOML."""

    manifests: tuple[Path, ...]
    output: Path
    architecture: str  # "sequence-" and a key of backbones.BACKBONES
    features: Path | None = None  # a run whose network gives the features, instead of the published backbone
    pretrained: Weights = None  # weights of the published backbone
    origins: tuple[str, ...] = ()  # dataset-method; only these, where given
    input_size: int = 192
    crop_margin: float = 2.9
    frames: int = 6  # of a sequence, evenly out of what a video has
    fewest: int = 4  # frames below which a video is no sequence
    units: int = 16
    dropout: float = 0.4
    seed: int = 1
    batch_size: int = 32
    steps_per_epoch: int = 20
    epochs: int = 60
    patience: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3

    @property
    def backbone(self) -> str:
        return self.architecture.removeprefix(SEQUENCE)


@dataclass(frozen=True, slots=True)
class Video:
    """The faces of one video in order: its samples, and their features, float32 (n, width)."""

    samples: tuple[Sample, ...]
    vectors: FloatArray

    @property
    def label(self) -> int:
        return self.samples[0].label


def configures(path: Path) -> bool:
    """Whether a configuration is of this family."""
    architecture: str = tomllib.loads(path.read_text(encoding="utf-8")).get("architecture", "")
    return architecture.startswith(SEQUENCE)


def read_config(path: Path, **overrides: Any) -> SequenceConfig:
    """Read a TOML file; paths in it are relative to the working directory. ``overrides`` win over the file."""
    return _config({**tomllib.loads(path.read_text(encoding="utf-8")), **overrides})


def read_note(run: Path) -> SequenceConfig:
    """Read the settings that a run leaves beside its weights."""
    return _config(json.loads((run / NOTE_FILE).read_text(encoding="utf-8")))


def _config(raw: dict[str, Any]) -> SequenceConfig:
    raw["manifests"] = tuple(Path(path) for path in raw["manifests"])
    raw["origins"] = tuple(raw.get("origins", ()))
    for key in ("output", "features", "pretrained"):
        if key in raw and raw[key] != "imagenet":
            raw[key] = Path(raw[key]) if raw[key] else None
    config = SequenceConfig(**raw)
    if config.backbone not in BACKBONES:
        raise ValueError(f"architecture is {SEQUENCE} and one of {', '.join(BACKBONES)}, not {config.architecture!r}")
    return config


# --- features -------------------------------------------------------------------------------------------------------


def extractor(config: SequenceConfig) -> tuple[Any, int, float]:
    """What makes a vector of a crop, the side of its crops in pixels, and their margin.

    Of a run's network it is the mean of what its last layer reads: what its own decision is made from.
    """
    if config.features is None:
        network = sequence.frame_features(config.backbone, config.input_size, weights=config.pretrained)
        return network, config.input_size, config.crop_margin
    noted, network = read_noted(config.features), runs.load(config.features)
    if not any(layer.name == "cells" for layer in network.layers):
        raise ValueError(
            f"{noted.architecture} gives no features: take a run of a single network with a map of evidence"
        )
    pooled = keras.layers.GlobalAveragePooling2D()(network.get_layer("cells").input)
    return keras.Model(network.input, pooled), noted.input_size, noted.crop_margin


def read_videos(config: SequenceConfig) -> dict[str, list[Video]]:
    """Every video that is long enough, by split. Features that ``output`` holds are not computed again."""
    samples = [s for s in read_manifests(config.manifests) if not config.origins or s.origin in config.origins]
    members: dict[str, list[Sample]] = {}
    for sample in samples:
        # Two manifests may name one video, cut by two face detectors: two sequences.
        members.setdefault(f"{sample.path.parent}:{sample.split}:{sample.video}", []).append(sample)
    chosen = [faces for faces in members.values() if len(faces) >= config.fewest]
    known = _features([sample for faces in chosen for sample in faces], config)
    videos: dict[str, list[Video]] = {}
    for faces in chosen:
        vectors = np.stack([known[str(sample.path)] for sample in faces])
        videos.setdefault(faces[0].split, []).append(Video(tuple(faces), vectors))
    return videos


def _features(samples: Sequence[Sample], config: SequenceConfig) -> dict[str, FloatArray]:
    cache, source = config.output / FEATURES_FILE, _source(config)
    known: dict[str, FloatArray] = {}
    if cache.exists():
        with np.load(cache) as kept:
            if kept["source"] == source:
                known = dict(zip(kept["paths"].tolist(), kept["vectors"], strict=True))
    missing = [sample for sample in samples if str(sample.path) not in known]
    if missing:
        network, size, margin = extractor(config)
        for start in tqdm(range(0, len(missing), BATCH), unit="batch", desc="features", leave=False, disable=None):
            part = missing[start : start + BATCH]
            vectors = np.asarray(network(np.stack(list(serving_crops(part, margin, size))), training=False))
            known |= {str(sample.path): vector for sample, vector in zip(part, vectors, strict=True)}
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, source=source, paths=np.array(list(known)), vectors=np.stack(list(known.values())))
    return known


def _source(config: SequenceConfig) -> str:
    """What features depend on beside the pictures: another word for it, and those that are kept are of no use."""
    weights = config.pretrained if config.features is None else config.features / WEIGHTS_FILE
    content = sha256_of(weights) if isinstance(weights, Path) else str(weights)
    return f"{config.architecture} {config.features} {content} {config.input_size} {config.crop_margin}"


# --- training -------------------------------------------------------------------------------------------------------


class Windows(keras.utils.PyDataset):
    """``([features, mask], labels)``: half real, half manipulated, as many frames of either, forwards or backwards.

    Collections keep more frames of real videos than of manipulated ones: the number must say nothing.
    """

    def __init__(self, videos: Sequence[Video], config: SequenceConfig) -> None:
        super().__init__()
        self.config, self.epoch = config, 0
        self.classes = [[video for video in videos if video.label == label] for label in (0, 1)]
        if not all(self.classes):
            raise ValueError("a sequence run needs real and manipulated videos in the train split")

    def __len__(self) -> int:
        return self.config.steps_per_epoch

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[tuple[FloatArray, NDArray[np.bool_]], FloatArray]:
        rng = np.random.default_rng([self.config.seed, self.epoch, index])
        labels = np.arange(self.config.batch_size) % 2
        number = int(rng.integers(self.config.fewest, self.config.frames + 1))
        parts = [self._part(self.classes[label], number, rng) for label in labels]
        return padded(parts, self.config.frames), labels.astype(np.float32)[:, None]

    def _part(self, videos: Sequence[Video], number: int, rng: np.random.Generator) -> FloatArray:
        vectors = videos[int(rng.integers(len(videos)))].vectors
        # One frame of each stretch: evenly spaced as in `evenly`, but others every time.
        edges = np.linspace(0, len(vectors), min(number, len(vectors)) + 1).astype(int)
        part = vectors[[int(rng.integers(low, high)) for low, high in pairwise(edges)]]
        return part[::-1] if rng.random() < 0.5 else part


def padded(parts: Sequence[FloatArray], frames: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Sequences of up to ``frames`` vectors as (n, frames, width), and the mask (n, frames) of what is there."""
    vectors = np.zeros((len(parts), frames, parts[0].shape[1]), np.float32)
    mask = np.zeros((len(parts), frames), bool)
    for i, part in enumerate(parts):
        vectors[i, : len(part)], mask[i, : len(part)] = part, True
    return vectors, mask


def evenly(number: int, frames: int) -> list[int]:
    """``frames`` of ``number`` indices at even distances, or all of them if there are no more."""
    return sorted({round(i) for i in np.linspace(0, number - 1, min(number, frames))})


def whole(videos: Sequence[Video], config: SequenceConfig) -> tuple[FloatArray, NDArray[np.bool_]]:
    """What a video is judged by, without chance."""
    return padded([video.vectors[evenly(len(video.vectors), config.frames)] for video in videos], config.frames)


def halves(videos: Sequence[Video]) -> tuple[list[Video], list[Video]]:
    """Videos of the calibration people, every other person here and there: those that end the training, and those that
    scores and their weights are fitted on. A head looks better than it is on whom its best epoch was chosen by.
    """
    people = sorted({video.samples[0].group for video in videos})
    ending, fitting = ([v for v in videos if v.samples[0].group in half] for half in (people[::2], people[1::2]))
    return ending, fitting


def train(config: SequenceConfig) -> Path:
    """Train the recurrent head and return the path of the weights of its best epoch.

    Raises:
        ValueError: the train or the calibration split lacks real or manipulated videos.
    """
    keras.utils.set_random_seed(config.seed)
    videos = read_videos(config)
    held_out, _ = halves(videos.get("calibration", []))
    labels = np.array([video.label for video in held_out], np.float32)
    if set(labels) != {0, 1}:
        raise ValueError("a sequence run needs real and manipulated videos in the calibration split")
    batches = Windows(videos.get("train", []), config)
    model = _head(config, batches.classes[0][0].vectors.shape[1])
    model.get_layer("normalise").adapt(np.concatenate([video.vectors for video in videos["train"]])[None])
    model.compile(
        optimizer=keras.optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay, clipnorm=1.0),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
    )
    weights = config.output / WEIGHTS_FILE
    shares = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    model.fit(
        batches,
        epochs=config.epochs,
        validation_data=(whole(held_out, config), labels[:, None], shares),
        callbacks=[
            keras.callbacks.ModelCheckpoint(str(weights), save_best_only=True, save_weights_only=True),
            keras.callbacks.EarlyStopping(patience=config.patience),
            keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=max(1, config.patience // 2)),
            keras.callbacks.CSVLogger(str(config.output / LOG_FILE)),
            keras.callbacks.TensorBoard(str(config.output / "tensorboard"), write_graph=False),
        ],
        verbose=2,
    )
    (config.output / NOTE_FILE).write_text(json.dumps(asdict(config), indent=2, default=str), encoding="utf-8")
    return weights


def _head(config: SequenceConfig, width: int) -> Any:
    return sequence.build(config.frames, width, units=config.units, dropout=config.dropout)


# --- measuring ------------------------------------------------------------------------------------------------------


def compare(run: Path, beside: Path, splits: Sequence[str] = ("val",)) -> dict[str, Any]:
    """How a sequence run ranks videos, alone and fused with the frame model of the run ``beside``.

    Both are calibrated on those calibration people who did not end the training; the weight of the sequence in the
    fused log-odds is the one of the least loss there. Returns the weight, the numbers of videos, and rows as of
    :func:`~detection.training.evaluate.auc_by_origin` for each.
    """
    config = read_note(run)
    videos = read_videos(config)
    _, fitting = halves(videos["calibration"])
    model = _head(config, fitting[0].vectors.shape[1])
    model.load_weights(run / WEIGHTS_FILE)
    judged = [video for split in splits for video in videos.get(split, [])]
    pairs = []
    for network in (_frame_scores(beside, config), lambda part: _sequence_scores(model, part, config)):
        fitted = calibrate.fit(network(fitting))
        pairs.append([_odds(network(part), fitted) for part in (fitting, judged)])
    weight = _fused_weight(pairs[0][0], pairs[1][0])
    fused = _blend(pairs[0][1], pairs[1][1], weight)
    named = {"frames": pairs[0][1], "sequence": pairs[1][1], "fused": fused}
    return {
        "weight": weight,
        "videos": {"fitted": len(fitting), "judged": len(judged)},
        "auc": {name: auc_by_origin(scores) for name, scores in named.items()},
    }


def markdown(found: dict[str, Any]) -> str:
    """What :func:`compare` found, as a table."""
    names = list(found["auc"])
    rows = zip(*(found["auc"][name] for name in names), strict=True)
    cells = [
        (rows_of[0]["origin"], rows_of[0]["real"], rows_of[0]["fake"], *(_interval(row) for row in rows_of))
        for rows_of in rows
    ]
    said = (
        f"The sequence weighs {found['weight']:.2f} in the fused score, fitted on {found['videos']['fitted']} videos "
        "of people that neither trained it nor chose its best epoch.\n"
    )
    return said + tables.grid(("manipulation", "real", "fake", *names), cells)


def _interval(row: dict[str, Any]) -> str:
    return tables.interval({"value": row["auc"], "low": row["low"], "high": row["high"]})


def _sequence_scores(model: Any, videos: Sequence[Video], config: SequenceConfig) -> Scores:
    logits = np.asarray(model(list(whole(videos, config)), training=False)["logit"])[:, 0]
    return Scores(tuple(video.samples[0] for video in videos), logits.astype(np.float32))


def _frame_scores(beside: Path, config: SequenceConfig) -> Any:
    """Videos to the mean logit of the frames that the sequence sees, too."""
    network, noted = runs.Network(runs.load(beside)), read_noted(beside)

    def scored(videos: Sequence[Video]) -> Scores:
        chosen = [[video.samples[i] for i in evenly(len(video.samples), config.frames)] for video in videos]
        flat = runs.score_network(network, [sample for part in chosen for sample in part], noted).logits
        means = list(_means(flat, [len(part) for part in chosen]))
        return Scores(tuple(video.samples[0] for video in videos), np.array(means, np.float32))

    return scored


def _means(values: FloatArray, lengths: Sequence[int]) -> Iterator[float]:
    start = 0
    for length in lengths:
        yield float(values[start : start + length].mean())
        start += length


def _odds(scores: Scores, fitted: calibrate.Calibration) -> Scores:
    return Scores(scores.samples, (fitted.slope * scores.logits + fitted.intercept).astype(np.float32))


def _blend(frames: Scores, sequences: Scores, weight: float) -> Scores:
    return Scores(frames.samples, (1 - weight) * frames.logits + weight * sequences.logits)


def _fused_weight(frames: Scores, sequences: Scores) -> float:
    """The sequence's share, in steps of a twentieth; both classes count the same."""
    labels = np.array([sample.label for sample in frames.samples])
    signs = np.where(labels == 1, 1, -1)

    def loss(weight: float) -> float:
        surprise = np.log1p(np.exp(-signs * _blend(frames, sequences, weight).logits.astype(float)))
        return float(surprise[labels == 1].mean() + surprise[labels == 0].mean())

    return min((round(0.05 * step, 2) for step in range(21)), key=loss)
