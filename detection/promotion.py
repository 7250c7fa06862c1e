"""The gate that a model passes before it judges: measured beside the one that judges now, on the same labelled faces.

The rule, in full: the candidate's mean AUC over the manipulations is at most ``TOLERANCE`` lower, at its own thresholds
it does not call more genuine files "strong signs", and of the manipulated ones it finds some, at most the share
``MISSED`` less. Faces of the split ``train`` let nobody pass. All is taken from ``python -m detection.training
evaluate``, which runs as a process of its own: a server does not have its packages.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from detection import processes, registered_models, serving
from detection.engine.registry import ModelSpec, sha256_of
from detection.models import RegisteredModel
from detection.problems import Refused

TOLERANCE = 0.005  # of AUC: far less than what another choice of faces makes of it (see the README's intervals)
MISSED = 0.05  # of the manipulated files
FORCED = "forced by promote_model"


class NotMeasured(Exception):  # noqa: N818
    """The comparison could not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What counts for a promotion, of one model."""

    model: str
    sha256: str
    mean_auc: float  # over the manipulations
    false_alarms: int  # genuine files that reached "strong signs"
    genuine: int
    detected: int  # manipulated files that did
    manipulated: int

    @property
    def found(self) -> float:
        """Share of the manipulated files that it detected."""
        return self.detected / self.manipulated


@dataclass(frozen=True, slots=True)
class Comparison:
    champion: Figures
    candidate: Figures
    manifests: list[str]  # name and SHA-256 of each
    split: str

    @property
    def objections(self) -> list[str]:
        """Why the candidate must not judge; empty if it may."""
        found = []
        if self.candidate.mean_auc < self.champion.mean_auc - TOLERANCE:
            found.append(f"its mean AUC is lower by more than {TOLERANCE}")
        if self.candidate.false_alarms > self.champion.false_alarms:
            found.append("it gives more false alarms")
        finds_nothing = self.candidate.detected == 0 < self.champion.detected
        if finds_nothing or self.candidate.found < self.champion.found - MISSED:
            found.append("it finds fewer manipulated files")
        if self.split == "train":
            found.append("it was measured on faces that are there to be trained on")
        return found


def compare(candidate: ModelSpec, manifests: Sequence[Path], *, split: str = "val") -> Comparison:
    """Measure what judges and what wants to, on the same faces.

    Raises:
        ModelError: there is nothing that judges.
        NotMeasured: the measurement failed, or the faces are not of both classes.
    """
    champion = serving.served()
    return Comparison(
        champion=_measured(champion, manifests, split),
        candidate=_measured(candidate, manifests, split),
        manifests=[f"{file.name} {sha256_of(file)}" for file in manifests],
        split=split,
    )


def conclude(row: RegisteredModel, comparison: Comparison, *, force: bool, reason: str, by: User | None) -> bool:
    """Keep the figures with the model and activate it, if it passed or is forced. Returns whether it judges now.

    Measuring takes minutes, so what was measured may be gone by now. A pass against a model that does not judge any
    more is none (see ``registered_models.needs_reason``).

    Raises Refused as ``registered_models.activate`` does, also if the candidate is another file by now.
    """
    found = {**asdict(comparison), "objections": comparison.objections, "at": timezone.now().isoformat()}
    has_passed = not comparison.objections
    same = RegisteredModel.objects.filter(pk=row.pk, sha256=comparison.candidate.sha256)
    if not same.update(gate=found, passed_gate=has_passed):
        raise Refused("conflict", _("Another file took this model's place while it was measured."))
    if not has_passed and not force:
        return False
    registered_models.activate(row, by=by, reason="" if has_passed else reason or FORCED)
    return True


def _measured(spec: ModelSpec, manifests: Sequence[Path], split: str) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "detection.training", "evaluate", "--quick", "--split", split]
        command += ["--model", spec.name, "--version", spec.version, "--output", folder]
        command += ["--weights-dir", str(serving.weights_folder()), "--models-dir", str(serving.models_folder())]
        command += [part for file in manifests for part in ("--manifest", str(file.resolve()))]
        done = processes.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NotMeasured(f"{spec.label} could not be measured. {processes.last_words(done)}")
        report = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))
    return figures_of(report, spec)


def figures_of(report: dict[str, Any], spec: ModelSpec) -> Figures:
    """Out of evaluate's report. Raises NotMeasured if there is no AUC in it."""
    overall = report["videos"]["overall"]
    mean_auc = overall["mean_auc"]["value"]
    if mean_auc is None or mean_auc != mean_auc:  # not a number, which JSON writers let through
        raise NotMeasured("The manifests need genuine and manipulated faces of the split.")
    return Figures(
        model=spec.label,
        sha256=spec.sha256,
        mean_auc=mean_auc,
        false_alarms=overall["false_alarms"],
        genuine=overall["real"],
        detected=overall["detected"],
        manipulated=overall["fake"],
    )
