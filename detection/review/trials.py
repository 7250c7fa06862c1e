"""Figures about challengers: how often they say something else than the model that judged, and who was right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Avg, Count, F, Q, QuerySet

from detection import open_access
from detection.engine.types import Verdict
from detection.models import ChallengerScore, Decision, RegisteredModel, decision
from detection.review.statistics import Share

NEWEST = 5  # files that are linked for each kind of change
# What people should look at first if it changes.
SEVERITY = [Verdict.INCONCLUSIVE, Verdict.AUTHENTIC, Verdict.SUSPICIOUS, Verdict.MANIPULATED]


@dataclass(frozen=True, slots=True)
class Change:
    """Files of which the challenger says something else."""

    before: str  # verdict of the model that judged
    after: str  # of the challenger
    number: int
    newest: list[tuple[Any, str]]  # id of the analysis and the file's name, of those that reviewers may open

    @property
    def is_stricter(self) -> bool:
        return SEVERITY.index(Verdict(self.after)) > SEVERITY.index(Verdict(self.before))


@dataclass(slots=True)
class Trial:
    """One challenger beside one model that judged."""

    challenger: str
    model: str
    is_over: bool = False
    files: int = 0  # judged by both
    failed: int = 0
    same: int = 0
    changes: list[Change] = field(default_factory=list)
    model_seconds: float | None = None  # mean of whole analyses
    seconds: float | None = None  # mean of what the challenger took besides
    model_and_people: Share = field(default_factory=lambda: Share(0, 0))
    challenger_and_people: Share = field(default_factory=lambda: Share(0, 0))

    @property
    def agreement(self) -> Share:
        return Share(self.same, self.files)


def trials() -> list[Trial]:
    """By challenger and model, the newest first."""
    pairs = ChallengerScore.objects.order_by().values("challenger", "challenger__state", "model_name", "model_version")
    found = pairs.annotate(
        files=Count("pk", filter=Q(error="")),
        failed=Count("pk", filter=~Q(error="")),
        same=Count("pk", filter=Q(verdict=F("model_verdict"))),
        mean_model_seconds=Avg("model_seconds"),
        mean_seconds=Avg("seconds"),
        name=F("challenger__name"),
        version=F("challenger__version"),
    )
    return [_trial(row) for row in found.order_by("-challenger", "-model_name", "-model_version")]


def _trial(row: Mapping[str, Any]) -> Trial:
    keys = ("challenger", "model_name", "model_version")
    scores = ChallengerScore.objects.filter(**{key: row[key] for key in keys}, error="")
    told = list(
        scores.filter(
            analysis__cases__decided_at__isnull=False,
            analysis__cases__model_name=row["model_name"],
            analysis__cases__model_version=row["model_version"],
        ).values_list("model_verdict", "verdict", "analysis__cases__verdict")
    )
    return Trial(
        challenger=f"{row['name']} {row['version']}",
        model=f"{row['model_name']} {row['model_version']}",
        is_over=row["challenger__state"] != RegisteredModel.State.CHALLENGER,
        files=row["files"],
        failed=row["failed"],
        same=row["same"],
        changes=_changes(scores),
        model_seconds=row["mean_model_seconds"],
        seconds=row["mean_seconds"],
        model_and_people=_confirmed((model, human) for model, _challenger, human in told),
        challenger_and_people=_confirmed((challenger, human) for _model, challenger, human in told),
    )


def _changes(scores: QuerySet[ChallengerScore]) -> list[Change]:
    """The most severe ones first."""
    differing = scores.exclude(verdict=F("model_verdict"))
    numbers = differing.order_by().values_list("model_verdict", "verdict").annotate(number=Count("pk"))
    # What is sent without an account is in no reviewer's queue.
    open_to = differing.exclude(analysis__upload__user__email=open_access.EMAIL)
    changes = []
    for before, after, number in numbers:
        kind = open_to.filter(model_verdict=before, verdict=after, analysis__status="succeeded")
        newest = list(kind.values_list("analysis", "analysis__upload__name")[:NEWEST])
        changes.append(Change(before, after, number, newest))
    ranks = {str(verdict): rank for rank, verdict in enumerate(SEVERITY)}
    return sorted(changes, key=lambda change: (-max(ranks[change.before], ranks[change.after]), change.before))


def _confirmed(said: Iterable[tuple[str, str]]) -> Share:
    """``said``: verdicts of a model and of people. Of those that people could tell."""
    decisions = [decision(model, human) for model, human in said]
    told = [one for one in decisions if one is not Decision.CANNOT_TELL]
    return Share(told.count(Decision.CONFIRMED), len(told))
