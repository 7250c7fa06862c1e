"""What waits for reviewers, in the order in which it should be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.utils import timezone

from accounts.models import User
from detection import open_access
from detection.engine.types import Verdict
from detection.models import Analysis, Dispute, FaceTrack, QueuedAnalysis, Review, ReviewCase
from detection.review import rules

# What is asked of people first: somebody objects, then what the model is not sure of, then the rest.
DISPUTED, SUSPICIOUS, INCONCLUSIVE, OTHER = range(4)

Queue = QuerySet[Any]  # of QueuedAnalysis; what is annotated is seen by no type checker


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a case is, for the page that shows it."""

    case: ReviewCase | None
    dispute: Dispute | None
    reviews: list[Review]
    counting: list[Review]  # of these; with an open dispute those that were given since
    needed: int  # reviewers who must agree

    @property
    def conflict(self) -> bool:
        return len({review.verdict for review in self.counting}) > 1


def queue() -> Queue:
    """Everything that has a result, decided or not, in one query; order by ``rank`` and then by age.

    Each has ``rank``, ``disputed``, ``decided``, ``opinions`` (those that count), ``assigned`` (the address of whom it
    is given to, or None) and ``thumbnail`` (see ``selectors.analyses_of``). What is sent without an account is left
    out: nobody could be told.
    """
    case = ReviewCase.objects.filter(analysis=OuterRef("pk"), is_current=True)
    disputes = Dispute.objects.filter(case__analysis=OuterRef("pk"), case__is_current=True, status=Dispute.Status.OPEN)
    pictured = FaceTrack.objects.filter(analysis=OuterRef("pk"), has_thumbnail=True)
    opinions = Review.objects.counting().filter(case__analysis=OuterRef("pk"), case__is_current=True).order_by()
    found = QueuedAnalysis.objects.filter(status=Analysis.Status.SUCCEEDED).exclude(
        upload__user__email=open_access.EMAIL
    )
    return (
        found.select_related("upload")
        .defer("points")
        .annotate(
            disputed=Exists(disputes),
            decided=Exists(case.filter(decided_at__isnull=False)),
            assigned=Subquery(case.values("assigned_to__email")[:1]),
            opinions=Subquery(opinions.values("case").annotate(number=Count("pk")).values("number")[:1]),
            thumbnail=Subquery(pictured.order_by(F("score").desc(nulls_last=True), "number").values("number")[:1]),
        )
        .annotate(
            rank=Case(
                When(disputed=True, then=Value(DISPUTED)),
                When(verdict=Verdict.SUSPICIOUS, then=Value(SUSPICIOUS)),
                When(verdict=Verdict.INCONCLUSIVE, then=Value(INCONCLUSIVE)),
                default=Value(OTHER),
                output_field=IntegerField(),
            )
        )
    )


ORDER = ("rank", "created_at", "pk")


def next_for(reviewer: User, *, after: Analysis | None = None) -> QueuedAnalysis | None:
    """The first case that this reviewer may judge and nobody else was given. ``after`` is left out."""
    mine = Review.objects.filter(case__analysis=OuterRef("pk"), case__is_current=True, reviewer=reviewer)
    waiting = queue().filter(Q(assigned=None) | Q(assigned=reviewer.email), ~Exists(mine), decided=False)
    waiting = waiting.exclude(upload__user=reviewer)
    if after is not None:
        waiting = waiting.exclude(pk=after.pk)
    return waiting.order_by(*ORDER).first()


def standing(analysis: Analysis) -> Standing:
    """How far the case of the present run is."""
    case = ReviewCase.objects.select_related("assigned_to").filter(analysis=analysis.pk, is_current=True).first()
    if case is None:
        return Standing(None, None, [], [], rules.needed(disputed=False))
    dispute = Dispute.objects.filter(case=case).first()
    reviews = list(case.reviews.select_related("reviewer"))
    counting = list(case.reviews.counting())
    return Standing(case, dispute, reviews, counting, rules.needed(disputed=dispute is not None and dispute.is_open))


def waiting_since(now_waiting: Queue) -> float | None:
    """Age of the oldest case in hours; None if nothing waits."""
    oldest = now_waiting.order_by("created_at").values_list("created_at", flat=True).first()
    return None if oldest is None else (timezone.now() - oldest).total_seconds() / 3600
