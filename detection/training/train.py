"""Train a network of one of the frame families, resumably.

The loop is Keras' own ``fit`` and uses no backend's API, so it runs on TensorFlow, JAX or PyTorch (with
``sharpness_radius`` not on JAX).
"""

from __future__ import annotations

import csv
import json
import os
import tomllib
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import keras

from detection.engine.networks.backbones import Weights
from detection.training import families
from detection.training.batches import FacePairs, Recipe
from detection.training.datasets import Sample, leave_out, read_manifests
from detection.training.mesh import find_meshes
from detection.training.sharpness import SharpnessAware, Twice
from detection.training.singles import LightFaces, PlainFaces

WEIGHTS_FILE, NOTE_FILE = "final.weights.h5", "config.json"
BEST_FILE, LOG_FILE = "best.weights.h5", "log.csv"
JUDGED_BY = "val_loss"  # finer than the AUC, which is 1 early where there are few files

Augmentation: TypeAlias = Literal["pairs", "light"]
Schedule: TypeAlias = Literal["cosine", "plateau"]


@dataclass(frozen=True, slots=True)
class Config:
    """What one training run is made of; read from TOML."""

    manifests: tuple[Path, ...]
    output: Path
    pretrained: Weights = None  # the backbone's weights to start from
    start: Path | None = None  # or those of a whole network: an earlier run's weights
    start_share: float = 0.0  # of the start's weights in the final ones (WiSE-FT, arXiv 2109.01903)
    meshes: Path | None = None  # where face meshes are kept between runs; None: pseudo-fakes from five landmarks
    leave_out: tuple[str, ...] = ()  # origins (dataset-method) that this run must not see
    architecture: str = "mobilenetv2"  # a key of families.FAMILIES
    augment: Augmentation = "pairs"  # or "light": faces one by one, a little changed; see batches and singles
    schedule: Schedule = "cosine"  # of the learning rate; or "plateau": halved where validation gets no better
    patience: int = 0  # epochs without a better loss on the calibration people that end a run; 0: none is validated
    input_size: int = 192
    crop_margin: float = 2.9
    residual: bool = True
    seed: int = 1
    batch_size: int = 32
    steps_per_epoch: int = 200
    epochs: int = 12
    learning_rate: float = 4e-4
    weight_decay: float = 1e-4
    dropout: float = 0.3
    label_smoothing: float = 0.04
    region_weight: float = 0.5  # of the dense loss, against 1 for the logit's
    ema_momentum: float = 0.998
    sharpness_radius: float = 0.0  # of sharpness-aware minimisation, which takes two gradients a step; 0: without
    pseudo_share: float = 0.5
    match_resolution: bool = True
    kinds: dict[str, float] | None = None
    real_weights: dict[str, float] = field(default_factory=dict)
    fake_weights: dict[str, float] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            input_size=self.input_size,
            crop_margin=self.crop_margin,
            batch_size=self.batch_size,
            steps_per_epoch=self.steps_per_epoch,
            seed=self.seed,
            pseudo_share=self.pseudo_share,
            real_weights=self.real_weights,
            fake_weights=self.fake_weights,
            kinds=self.kinds,
            match_resolution=self.match_resolution,
            regions=self.architecture in families.DENSE,
        )


def read_config(path: Path, **overrides: Any) -> Config:
    """Read a TOML file; paths in it are relative to the working directory. ``overrides`` win over the file.

    A file may name another as its ``base``, relative to itself, and then holds only what differs.
    """
    return _config({**_read_toml(path), **overrides})


def read_noted(folder: Path) -> Config:
    """Read the settings that a run leaves beside its weights. Raises ValueError for a sequence run."""
    noted = json.loads((folder / NOTE_FILE).read_text(encoding="utf-8"))
    config = _config({key: value for key, value in noted.items() if key in Config.__dataclass_fields__})
    families.check(config.architecture)
    return config


def _config(raw: dict[str, Any]) -> Config:
    raw["manifests"] = tuple(Path(p) for p in raw["manifests"])
    raw["leave_out"] = tuple(raw.get("leave_out", ()))
    for key in ("output", "pretrained", "start", "meshes"):
        if key in raw and raw[key] != "imagenet":
            raw[key] = Path(raw[key]) if raw[key] else None
    return Config(**raw)


def _read_toml(path: Path) -> dict[str, Any]:
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    base = raw.pop("base", None)
    return {**_read_toml(path.parent / base), **raw} if base else raw


def training_samples(config: Config) -> list[Sample]:
    """The rows that a run may see: the train split, less what is left out."""
    return leave_out([s for s in read_manifests(config.manifests) if s.split == "train"], config.leave_out)


def make_batches(config: Config, *, first_epoch: int = 0) -> keras.utils.PyDataset:
    batches = _batches(config, first_epoch)
    return Twice(batches) if config.sharpness_radius else batches


def _batches(config: Config, first_epoch: int) -> FacePairs | LightFaces:
    samples = training_samples(config)
    if config.augment == "light":
        return LightFaces(samples, config.recipe, first_epoch=first_epoch)
    meshes = {} if config.meshes is None else find_meshes(samples, config.meshes)
    return FacePairs(samples, meshes, config.recipe, first_epoch=first_epoch)


def build(config: Config, *, weights: Weights = None) -> Any:
    """The network of a run, untrained but for ``weights``."""
    options = {"residual": config.residual} if config.architecture in families.DENSE else {}
    return families.build(config.architecture, config.input_size, weights=weights, dropout=config.dropout, **options)


def train(config: Config) -> Path:
    """Run, or go on with an interrupted run, and return the path of the weights: averaged over the last steps, and
    where ``patience`` is set those of the best epoch.

    Raises:
        ValueError: the settings contradict each other, or there is nobody to validate on.
    """
    _check(config)
    config.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.seed)
    full = build(config, weights=config.pretrained)
    if config.start is not None:
        full.load_weights(config.start)
    before = full.get_weights()
    # The evidence map has no label: it is trained through its mean, the logit.
    model = keras.Model(full.input, {key: full.output[key] for key in ("logit", "regions") if key in full.output})
    _compile(model, config)
    state_file = config.output / "epoch.json"
    first = json.loads(state_file.read_text())["epoch"] if state_file.exists() else 0
    model.fit(
        make_batches(config, first_epoch=first),
        epochs=config.epochs,
        shuffle=False,  # batches are drawn at random already
        validation_data=_validation(config),
        callbacks=[*_records(config, state_file, first), *(_judges(config, first) if config.patience else ())],
        verbose=2 if _quiet() else 1,
    )
    if config.patience:
        model.load_weights(config.output / BEST_FILE)
    else:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    share = config.start_share
    full.set_weights([share * old + (1 - share) * new for old, new in zip(before, full.get_weights(), strict=True)])
    weights = config.output / WEIGHTS_FILE
    full.save_weights(weights)
    (config.output / NOTE_FILE).write_text(json.dumps(asdict(config), indent=2, default=str))
    return weights


def _check(config: Config) -> None:
    if config.start_share and config.start is None:
        raise ValueError("start_share needs a start")
    for key, kind in (("augment", Augmentation), ("schedule", Schedule)):
        if getattr(config, key) not in get_args(kind):
            raise ValueError(f"{key} is one of {', '.join(get_args(kind))}, not {getattr(config, key)!r}")
    if config.schedule == "plateau" and not config.patience:
        raise ValueError('schedule = "plateau" needs a patience: without one nothing is validated')


def _compile(model: Any, config: Config) -> None:
    losses = {"logit": keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)}
    if "regions" in model.output:
        losses["regions"] = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(
        optimizer=_optimizer(config),
        loss=losses,
        loss_weights={name: {"logit": 1.0, "regions": config.region_weight}[name] for name in losses},
        metrics={
            "logit": [
                keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy"),
                keras.metrics.AUC(from_logits=True, name="auc"),
            ]
        },
        jit_compile=False,
    )


def _validation(config: Config) -> PlainFaces | None:
    """People to stop by: those of the calibration, so that figures on ``val`` stay clean."""
    if not config.patience:
        return None
    samples = [s for s in read_manifests(config.manifests) if s.split == "calibration"]
    if {s.label for s in samples} != {0, 1}:
        raise ValueError("patience needs real and manipulated faces in the calibration split; there are not both")
    return PlainFaces(samples, config.recipe)


def _records(config: Config, state_file: Path, first: int) -> list[keras.callbacks.Callback]:
    """What a run writes down after every epoch."""
    return [
        keras.callbacks.BackupAndRestore(str(config.output / "backup"), delete_checkpoint=False),
        keras.callbacks.CSVLogger(str(config.output / LOG_FILE), append=first > 0),
        keras.callbacks.TensorBoard(str(config.output / "tensorboard"), write_graph=False),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: _save_state(state_file, epoch + 1)  # noqa: ARG005  (Keras names them)
        ),
    ]


def _judges(config: Config, first: int) -> list[keras.callbacks.Callback]:
    """What looks at the validation: keeps the best epoch, ends the run, lowers the learning rate."""
    judges = [
        # Comes after the backup, which keeps the weights that training goes on with; what is judged is their average.
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        keras.callbacks.ModelCheckpoint(
            str(config.output / BEST_FILE),
            monitor=JUDGED_BY,
            save_best_only=True,
            save_weights_only=True,
            initial_value_threshold=_best_so_far(config) if first else None,
        ),
        # An interrupted run begins to wait anew.
        keras.callbacks.EarlyStopping(monitor=JUDGED_BY, patience=config.patience, verbose=1),
    ]
    if config.schedule == "plateau":
        patience = max(1, config.patience // 2)
        judges.append(keras.callbacks.ReduceLROnPlateau(monitor=JUDGED_BY, factor=0.5, patience=patience, verbose=1))
    return judges


def _best_so_far(config: Config) -> float | None:
    """The least loss that an interrupted run has come to; None if it never was a number."""
    with (config.output / LOG_FILE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if any(row.get(JUDGED_BY) is None for row in rows):
        raise ValueError(f"the run in {config.output} began without a patience: go on without, or begin another one")
    return min((loss for row in rows if isfinite(loss := float(row[JUDGED_BY]))), default=None)


def _optimizer(config: Config) -> Any:
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        total = config.steps_per_epoch * config.epochs
        rate = keras.optimizers.schedules.CosineDecay(
            1e-5, total, alpha=0.01, warmup_target=config.learning_rate, warmup_steps=min(100, total // 10)
        )
    options = {
        "weight_decay": config.weight_decay,
        "use_ema": True,
        "ema_momentum": config.ema_momentum,
        "clipnorm": 5.0,
    }
    if config.sharpness_radius:
        return SharpnessAware(rate, radius=config.sharpness_radius, **options)
    return keras.optimizers.AdamW(rate, **options)


def _save_state(path: Path, epoch: int) -> None:
    path.write_text(json.dumps({"epoch": epoch}))


def _quiet() -> bool:
    return bool(os.environ.get("VERIFRAME_PLAIN_LOG"))
