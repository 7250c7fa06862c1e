"""What is known about a model: its registry entry and, where there is one, the measured facts beside it.

Read again whenever a file changes, so that a new model needs no restart to show its own figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from detection.engine.registry import REGISTRY, WEIGHTS, ModelSpec, QualityLimits, read_registry
from detection.engine.types import MediaKind

Json = dict[str, Any]

FACTS = "model_card.json"  # written by detection.training.model_card
PLOTS: dict[str, Promise] = {
    "roc": _("How well the model ranks"),
    "scores": _("How the scores are spread"),
    "reliability": _("How far the scores can be taken at their word"),
    "robustness": _("What is left after degradation"),
}


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """How often genuine files reached the threshold for ``manipulated`` when the model was measured."""

    reals: int
    alarms: int
    at_most: float  # upper end of the 95 % interval of the rate, 0 to 1


def weights_folder() -> Path:
    return Path(settings.ANALYSIS_WEIGHTS_DIR or WEIGHTS)


def served_model() -> ModelSpec:
    """The model that new analyses are judged by. Raises ModelError if the registry cannot be read."""
    default, specs = _registry(weights_folder())
    return specs[settings.ANALYSIS_MODEL or default]


def registered_models() -> list[ModelSpec]:
    return list(_registry(weights_folder())[1].values())


def model_of(sha256: str) -> ModelSpec | None:
    """The registered model with this hash; None for one that is no longer there."""
    return next((spec for spec in _registry(weights_folder())[1].values() if spec.sha256 == sha256), None)


def facts_of(spec: ModelSpec) -> Json | None:
    """The measured facts about exactly this file, as ``detection.training.model_card.collect`` has them."""
    path = weights_folder() / FACTS
    if not path.is_file():
        return None
    facts = _facts(path, path.stat().st_mtime_ns)
    return facts if facts["model"]["sha256"] == spec.sha256 else None


def plot(name: str) -> Path | None:
    path = weights_folder() / "plots" / f"{name}.svg"
    return path if name in PLOTS and path.is_file() else None


def plots_of(spec: ModelSpec) -> list[str]:
    """Names of the plots that were drawn with the facts about this file."""
    return [name for name in PLOTS if plot(name)] if facts_of(spec) else []


def false_alarms(sha256: str, kind: str) -> FalseAlarms | None:
    """For the model that judged a file of this kind; None if nothing is known about it any more."""
    spec = model_of(sha256)
    if spec is None:
        return None
    facts = facts_of(spec)
    if facts and kind in facts["operating_point"]["kinds"]:
        row = facts["operating_point"]["kinds"][kind]
        return FalseAlarms(facts["operating_point"]["reals"][kind], row["false_alarms"], row["false_alarms_at_most"])
    metrics = spec.metrics
    if "validation_real" not in metrics:
        return None
    at_most = metrics["validation_false_alarm_rate_upper_95"]
    return FalseAlarms(metrics["validation_real"], metrics["validation_false_alarms"], at_most)


def limits_of(sha256: str) -> QualityLimits | None:
    """Below which quality the model that judged does not judge."""
    spec = model_of(sha256)
    return spec.quality if spec else None


def thresholds(spec: ModelSpec) -> list[Json]:
    """The operating points, each kind of file with its own."""
    points = [(kind, spec.point(kind)) for kind in MediaKind]
    return [{"kind": str(kind), "suspicious": p.suspicious, "manipulated": p.manipulated} for kind, p in points]


def _registry(folder: Path) -> tuple[str, dict[str, ModelSpec]]:
    path = folder / REGISTRY
    return _read(folder, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=4)
def _read(folder: Path, changed: int) -> tuple[str, dict[str, ModelSpec]]:
    del changed  # part of the key: another version is another answer
    return read_registry(folder)


@lru_cache(maxsize=2)
def _facts(path: Path, changed: int) -> Json:
    del changed
    facts: Json = json.loads(path.read_text(encoding="utf-8"))
    return facts
