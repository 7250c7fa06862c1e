"""Figures about reviewing: how much, how old, how often people agree with the model, and what the workers do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q
from django.db.models.functions import TruncDate
from django.utils import timezone

from config import signs
from detection import dead_letters
from detection.engine.types import Verdict
from detection.models import Analysis, Decision, Dispute, ReviewCase, WebhookDelivery, decision
from detection.review import queue
from detection.review.intervals import clopper_pearson

DAYS = 30


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with the interval that the true share lies in (95 %)."""

    hits: int
    trials: int

    @property
    def value(self) -> float | None:
        return self.hits / self.trials if self.trials else None

    @property
    def interval(self) -> tuple[float, float]:
        return clopper_pearson(self.hits, self.trials)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What people said about what one version of the model had said."""

    model: str
    version: str
    cases: int
    confirmed: int
    overturned: int
    cannot_tell: int
    agreement: Share  # confirmed, of those that people could tell
    overturned_flags: Share  # genuine to people, of what the model had called manipulated
    false_alarms: Share  # called manipulated by the model, of what people call genuine


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    analyses: int
    decided: int
    disputed: int


def volumes() -> list[Day]:
    """The last ``DAYS`` days in UTC, the newest first."""
    today = timezone.now().date()
    since = timezone.now() - timedelta(days=DAYS)

    def by_day(rows: Any, field: str) -> dict[date, int]:
        dated = rows.filter(**{f"{field}__gte": since}).order_by().annotate(day=TruncDate(field))
        return dict(dated.values_list("day").annotate(number=Count("pk")))

    sent = by_day(Analysis.objects.all(), "created_at")
    decided = by_day(ReviewCase.objects.all(), "decided_at")
    disputed = by_day(Dispute.objects.all(), "opened_at")
    days = [today - timedelta(days=back) for back in range(DAYS)]
    return [Day(day, sent.get(day, 0), decided.get(day, 0), disputed.get(day, 0)) for day in days]


def agreement() -> list[Agreement]:
    """By model and version, the newest cases' version first. Also cases of runs that were replaced since."""
    rows = ReviewCase.objects.filter(decided_at__isnull=False).exclude(model_verdict="").order_by("-decided_at")
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, version, model, human in rows.values_list("model_name", "model_version", "model_verdict", "verdict"):
        groups.setdefault((name, version), []).append((model, human))
    return [_agreement(name, version, pairs) for (name, version), pairs in groups.items()]


def _agreement(name: str, version: str, pairs: list[tuple[str, str]]) -> Agreement:
    """``pairs``: what the model said and what people said."""
    decisions = Counter(decision(model, human) for model, human in pairs)
    flagged = [human for model, human in pairs if model == Verdict.MANIPULATED and human != Verdict.INCONCLUSIVE]
    genuine = [model for model, human in pairs if human == Verdict.AUTHENTIC]
    told = decisions[Decision.CONFIRMED] + decisions[Decision.OVERTURNED]
    return Agreement(
        model=name,
        version=version,
        cases=len(pairs),
        confirmed=decisions[Decision.CONFIRMED],
        overturned=decisions[Decision.OVERTURNED],
        cannot_tell=decisions[Decision.CANNOT_TELL],
        agreement=Share(decisions[Decision.CONFIRMED], told),
        overturned_flags=Share(flagged.count(Verdict.AUTHENTIC), len(flagged)),
        false_alarms=Share(genuine.count(Verdict.MANIPULATED), len(genuine)),
    )


def waiting() -> dict[str, Any]:
    """How many cases wait by what they are, and for how many hours the oldest has."""
    undecided = queue.queue().filter(decided=False)
    ranks = Counter(undecided.order_by().values_list("rank", flat=True))
    return {
        "disputed": ranks[queue.DISPUTED],
        "suspicious": ranks[queue.SUSPICIOUS],
        "inconclusive": ranks[queue.INCONCLUSIVE],
        "other": ranks[queue.OTHER],
        "oldest_hours": queue.waiting_since(undecided),
        "oldest_dispute_hours": queue.waiting_since(undecided.filter(disputed=True)),
    }


def work() -> dict[str, Any]:
    """What analyses wait or run, what is not sent yet, how many workers there are and which (None: nobody knows)."""
    now = timezone.now()
    active = Analysis.objects.aggregate(
        queued=Count("pk", filter=Q(status=Analysis.Status.QUEUED)),
        running=Count("pk", filter=Q(status=Analysis.Status.RUNNING)),
        lost=Count("pk", filter=Q(status=Analysis.Status.RUNNING, lease_until__lt=now)),
        oldest=Min(Analysis.WAITS_SINCE, filter=Q(status=Analysis.Status.QUEUED)),
    )
    deliveries = WebhookDelivery.objects.filter(status=WebhookDelivery.Status.PENDING).count()
    oldest: datetime | None = active.pop("oldest")
    minutes = None if oldest is None else (now - oldest).total_seconds() / 60
    there = signs.workers()
    return {
        **active,
        "oldest_minutes": minutes,
        "deliveries": deliveries,
        "given_up": dead_letters.waiting(),
        "workers": _alive(there),
        "processes": there,
    }


def _alive(there: list[signs.Sign] | None) -> int | None:
    if settings.EMBEDDED:
        return 1  # all is in one process
    return None if there is None else sum(not sign.is_silent for sign in there)
