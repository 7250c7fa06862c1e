"""What is known about a model: its entry and, where there is one, the measured facts beside it.

Read again whenever a file changes, so that a new model needs no restart to show its own figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from detection import serving
from detection.engine.registry import ModelSpec
from detection.engine.types import MediaKind
from detection.models import Analysis

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


def model_of(analysis: Analysis) -> ModelSpec | None:
    """The model that judged; None for one that is no longer there."""
    named = serving.columns_of(analysis)
    return next((spec for spec in serving.readable_models() if serving.columns(spec) == named), None)


def facts_of(spec: ModelSpec) -> Json | None:
    """The measured facts about exactly this file, as ``detection.training.model_card.collect`` has them.

    They are about a shipped model: the same file installed once more may have other thresholds.
    """
    path = serving.weights_folder() / FACTS
    if not path.is_file() or spec.path.parent != serving.weights_folder():
        return None
    facts = _facts(path, path.stat().st_mtime_ns)
    return facts if facts["model"]["sha256"] == spec.sha256 else None


def is_measured(spec: ModelSpec) -> bool:
    """Whether there are figures about it; of one that was imported there may be none."""
    return bool(spec.metrics or facts_of(spec))


def plot(name: str) -> Path | None:
    path = serving.weights_folder() / "plots" / f"{name}.svg"
    return path if name in PLOTS and path.is_file() else None


def plots_of(spec: ModelSpec) -> list[str]:
    """Names of the plots that were drawn with the facts about this file."""
    return [name for name in PLOTS if plot(name)] if facts_of(spec) else []


def false_alarms(spec: ModelSpec | None, kind: str) -> FalseAlarms | None:
    """For the model that judged a file of this kind; None if nothing is known about it, or not any more."""
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


def thresholds(spec: ModelSpec) -> list[Json]:
    """The operating points, each kind of file with its own."""
    points = [(kind, spec.point(kind)) for kind in MediaKind]
    return [{"kind": str(kind), "suspicious": p.suspicious, "manipulated": p.manipulated} for kind, p in points]


@lru_cache(maxsize=2)
def _facts(path: Path, changed: int) -> Json:
    del changed
    facts: Json = json.loads(path.read_text(encoding="utf-8"))
    return facts
