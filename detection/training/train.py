"""Fine-tune a network on pairs of real and manipulated faces, resumably.

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

from detection.engine.networks import mobilenetv2
from detection.training.batches import FacePairs, Recipe
from detection.training.datasets import Sample, leave_out, read_manifests
from detection.training.mesh import find_meshes

WEIGHTS_FILE, NOTE_FILE = "final.weights.h5", "config.json"


@dataclass(frozen=True, slots=True)
class Config:
    """What one training run is made of; read from TOML."""

    manifests: tuple[Path, ...]
    output: Path
    pretrained: Path | None = None  # the backbone's weights to start from
    start: Path | None = None  # or those of a whole network: an earlier run's weights
    start_share: float = 0.0  # of the start's weights in the final ones (WiSE-FT, arXiv 2109.01903)
    meshes: Path | None = None  # where face meshes are kept between runs; None: pseudo-fakes from five landmarks
    leave_out: tuple[str, ...] = ()  # origins (dataset-method) that this run must not see
    architecture: str = "mobilenetv2"  # or mobilenetv2-linear, which is served but no longer trained
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
        )


def read_config(path: Path, **overrides: Any) -> Config:
    """Read a TOML file; paths in it are relative to the working directory. ``overrides`` win over the file.

    A file may name another as its ``base``, relative to itself, and then holds only what differs.
    """
    return _config({**_read_toml(path), **overrides})


def read_noted(folder: Path) -> Config:
    """Read the settings that a run leaves beside its weights."""
    noted = json.loads((folder / NOTE_FILE).read_text(encoding="utf-8"))
    return _config({key: value for key, value in noted.items() if key in Config.__dataclass_fields__})


def _config(raw: dict[str, Any]) -> Config:
    raw["manifests"] = tuple(Path(p) for p in raw["manifests"])
    raw["leave_out"] = tuple(raw.get("leave_out", ()))
    for key in ("output", "pretrained", "start", "meshes"):
        if raw.get(key):
            raw[key] = Path(raw[key])
    return Config(**raw)


def _read_toml(path: Path) -> dict[str, Any]:
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    base = raw.pop("base", None)
    return {**_read_toml(path.parent / base), **raw} if base else raw


def training_samples(config: Config) -> list[Sample]:
    """The rows that a run may see: the train split, less what is left out."""
    return leave_out([s for s in read_manifests(config.manifests) if s.split == "train"], config.leave_out)


def make_batches(config: Config, *, first_epoch: int = 0) -> FacePairs:
    samples = training_samples(config)
    meshes = {} if config.meshes is None else find_meshes(samples, config.meshes)
    return FacePairs(samples, meshes, config.recipe, first_epoch=first_epoch)


def train(config: Config) -> Path:
    """Run, or go on with an interrupted run, and return the path of the averaged weights.

    Raises:
        ValueError: this architecture is not trained here, or there is no start to take a share of.
    """
    if config.architecture != "mobilenetv2":
        raise ValueError(f"{config.architecture} is served, but not trained any more")
    if config.start_share and config.start is None:
        raise ValueError("start_share needs a start")
    config.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.seed)
    full = mobilenetv2.build(
        config.input_size, dropout=config.dropout, weights=config.pretrained, residual=config.residual
    )
    if config.start is not None:
        full.load_weights(config.start)
    before = full.get_weights()
    # The evidence map has no label: it is trained through its mean, the logit.
    model = keras.Model(full.input, {name: full.get_layer(name).output for name in ("logit", "regions")})
    optimizer = _optimizer(config)
    model.compile(
        optimizer=optimizer,
        loss={
            "logit": keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
            "regions": keras.losses.BinaryCrossentropy(from_logits=True),
        },
        loss_weights={"logit": 1.0, "regions": config.region_weight},
        metrics={"logit": [keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")]},
        jit_compile=False,
    )
    state_file = config.output / "epoch.json"
    first = json.loads(state_file.read_text())["epoch"] if state_file.exists() else 0
    batches = make_batches(config, first_epoch=first)
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
    share = config.start_share
    full.set_weights([share * old + (1 - share) * new for old, new in zip(before, full.get_weights(), strict=True)])
    weights = config.output / WEIGHTS_FILE
    full.save_weights(weights)
    (config.output / NOTE_FILE).write_text(json.dumps(asdict(config), indent=2, default=str))
    return weights


def _optimizer(config: Config) -> Any:
    total = config.steps_per_epoch * config.epochs
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-5, total, alpha=0.01, warmup_target=config.learning_rate, warmup_steps=min(100, total // 10)
    )
    return keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        use_ema=True,
        ema_momentum=config.ema_momentum,
        clipnorm=5.0,
    )


def _save_state(path: Path, epoch: int) -> None:
    path.write_text(json.dumps({"epoch": epoch}))


def _quiet() -> bool:
    return bool(os.environ.get("VERIFRAME_PLAIN_LOG"))
