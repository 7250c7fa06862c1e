"""Fine-tune a network on labelled faces and self-blends, resumably.

The loop is Keras' own ``fit`` and uses no backend's API, so it runs on TensorFlow, JAX or PyTorch.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from detection.engine.networks import mobilenetv2
from detection.training.augment import training_crop
from detection.training.datasets import Sample, read_manifest
from detection.training.pseudo_fakes import self_blend


@dataclass(frozen=True, slots=True)
class Config:
    """What one training run is made of; read from TOML."""

    manifest: Path
    output: Path
    pretrained: Path | None = None  # the backbone's weights to start from
    input_size: int = 192
    crop_margin: float = 2.9
    seed: int = 1
    batch_size: int = 32
    steps_per_epoch: int = 200
    epochs: int = 12
    learning_rate: float = 4e-4
    weight_decay: float = 1e-4
    label_smoothing: float = 0.04
    ema_momentum: float = 0.998
    self_blend_share: float = 0.25  # of the manipulated half of a batch
    real_weights: dict[str, float] = field(default_factory=dict)  # dataset-method -> share
    fake_weights: dict[str, float] = field(default_factory=dict)


def read_config(path: Path) -> Config:
    """Read a TOML file; paths in it are relative to the working directory."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    for key in ("manifest", "output", "pretrained"):
        if raw.get(key):
            raw[key] = Path(raw[key])
    return Config(**raw)


class FaceBatches(keras.utils.PyDataset):
    """Balanced batches: half real, half manipulated, sources drawn by weight.

    Batch ``i`` of epoch ``e`` depends on seed, ``e`` and ``i`` alone, so a resumed run sees what an
    uninterrupted one would have seen.
    """

    def __init__(self, samples: list[Sample], config: Config, *, first_epoch: int = 0, workers: int = 2) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        self.config = config
        self.epoch = first_epoch
        self.reals = _by_origin([s for s in samples if s.label == 0], config.real_weights)
        self.fakes = _by_origin([s for s in samples if s.label == 1], config.fake_weights)

    def __len__(self) -> int:
        return self.config.steps_per_epoch

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rng = np.random.default_rng([self.config.seed, self.epoch, index])
        half = self.config.batch_size // 2
        blends = round(half * self.config.self_blend_share)
        crops: list[NDArray[np.uint8]] = []
        labels: list[float] = []
        for _ in range(blends):
            # Both members of a pair go through the same degradations, by the same draw.
            sample = _draw(self.reals, rng)
            real, fake = self_blend(sample.load(), sample.landmarks, rng)
            replay = int(rng.integers(2**32))
            for picture, label in ((real, 0.0), (fake, 1.0)):
                crops.append(self._crop(picture, sample, np.random.default_rng(replay)))
                labels.append(label)
        for pool, label in ((self.reals, 0.0), (self.fakes, 1.0)):
            for _ in range(half - blends):
                sample = _draw(pool, rng)
                crops.append(self._crop(sample.load(), sample, rng))
                labels.append(label)
        return np.stack(crops), np.array(labels, np.float32)[:, None]

    def _crop(self, picture: NDArray[np.uint8], sample: Sample, rng: np.random.Generator) -> NDArray[np.uint8]:
        return training_crop(
            picture,
            sample.landmarks,
            margin=self.config.crop_margin,
            size=self.config.input_size,
            rng=rng,
        )


Pool = tuple[list[list[Sample]], NDArray[np.float64]]


def _by_origin(samples: list[Sample], weights: dict[str, float]) -> Pool:
    origins: dict[str, list[Sample]] = {}
    for sample in samples:
        origins.setdefault(sample.origin, []).append(sample)
    names = [name for name in sorted(origins) if weights.get(name, 1.0) > 0]
    shares = np.array([weights.get(name, 1.0) for name in names])
    return [origins[name] for name in names], shares / shares.sum()


def _draw(pool: Pool, rng: np.random.Generator) -> Sample:
    lists, shares = pool
    chosen = lists[int(rng.choice(len(lists), p=shares))]
    return chosen[int(rng.integers(len(chosen)))]


def train(config: Config) -> Path:
    """Run, or go on with an interrupted run, and return the path of the averaged weights."""
    config.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.seed)
    samples = [s for s in read_manifest(config.manifest) if s.split == "train"]
    full = mobilenetv2.build(config.input_size, weights=config.pretrained)
    model = keras.Model(full.input, full.get_layer("logit").output)  # the evidence map has no label
    total = config.steps_per_epoch * config.epochs
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-5, total, alpha=0.01, warmup_target=config.learning_rate, warmup_steps=min(100, total // 10)
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        use_ema=True,
        ema_momentum=config.ema_momentum,
        clipnorm=5.0,
    )
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
        jit_compile=False,
    )
    state_file = config.output / "epoch.json"
    first = json.loads(state_file.read_text())["epoch"] if state_file.exists() else 0
    batches = FaceBatches(samples, config, first_epoch=first)
    backup = keras.callbacks.BackupAndRestore(str(config.output / "backup"), delete_checkpoint=False)
    log = keras.callbacks.CSVLogger(str(config.output / "log.csv"), append=first > 0)
    saver = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: _save_state(state_file, epoch + 1)  # noqa: ARG005  (Keras names them)
    )
    model.fit(
        batches,
        epochs=config.epochs,
        shuffle=False,  # batches are drawn at random already
        callbacks=[backup, log, saver],
        verbose=2 if _quiet() else 1,
    )
    optimizer.finalize_variable_values(model.trainable_variables)
    weights = config.output / "final.weights.h5"
    full.save_weights(weights)
    (config.output / "config.json").write_text(json.dumps(_plain(asdict(config)), indent=2))
    return weights


def _save_state(path: Path, epoch: int) -> None:
    path.write_text(json.dumps({"epoch": epoch}))


def _quiet() -> bool:
    return bool(os.environ.get("VERIFRAME_PLAIN_LOG"))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
