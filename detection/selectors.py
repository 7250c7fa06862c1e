"""Reads that pages and API share. A stranger's analysis does not exist."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Count, F, OuterRef, Q, Subquery
from django.db.models.functions import Lower
from django.shortcuts import get_object_or_404

from detection.engine.types import Verdict
from detection.models import (
    Analysis,
    AnalysisQuerySet,
    FaceTrack,
    Upload,
    WebhookDelivery,
    WebhookDeliveryQuerySet,
    WebhookEndpoint,
)

Reader = AbstractBaseUser | AnonymousUser

VERDICTS = [str(word) for word in (Verdict.MANIPULATED, Verdict.SUSPICIOUS, Verdict.AUTHENTIC, Verdict.INCONCLUSIVE)]
RECENT = 5
MOST_RECENT = 50
LOOKED_AT = 20  # finished analyses, to guess how long the next one takes
SORTS = {
    "newest": ("-created_at",),
    "oldest": ("created_at",),
    "name": (Lower("upload__name"), "-created_at"),
    "highest": (F("score").desc(nulls_last=True), "-created_at"),
    "lowest": (F("score").asc(nulls_last=True), "-created_at"),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which analyses somebody wants to see; an empty field wants all. Days are days in UTC, both inclusive."""

    search: str = ""  # part of the file's name
    verdict: str = ""
    kind: str = ""
    status: str = ""
    since: date | None = None
    until: date | None = None
    external_id: str = ""
    sort: str = "newest"  # a key of SORTS


@dataclass(frozen=True, slots=True)
class Counts:
    """How many analyses somebody has, by what became of them."""

    total: int
    by_verdict: dict[str, int]
    by_status: dict[str, int]

    @property
    def tiles(self) -> list[tuple[str, int]]:
        """Word and number: every verdict, and of the statuses those that occur."""
        verdicts = [(verdict, self.by_verdict.get(verdict, 0)) for verdict in VERDICTS]
        statuses = [Analysis.Status.RUNNING, Analysis.Status.QUEUED, Analysis.Status.FAILED]
        return verdicts + [(str(status), self.by_status[status]) for status in statuses if status in self.by_status]


def analyses_of(user: Reader) -> AnalysisQuerySet:
    """Everything that this user may see, newest first, in one query with the uploads.

    Each has ``thumbnail``: the number of the track whose picture stands for it (the most suspicious one), or None.
    """
    pictured = FaceTrack.objects.filter(analysis=OuterRef("pk"), has_thumbnail=True)
    worst = pictured.order_by(F("score").desc(nulls_last=True), "number").values("number")[:1]
    visible = Analysis.objects.visible_to(user)
    return visible.select_related("upload").defer("points").annotate(thumbnail=Subquery(worst))


def history(user: Reader, wanted: Wanted) -> AnalysisQuerySet:
    """Those of the user's analyses that are wanted, in the wanted order."""
    found = analyses_of(user)
    if wanted.search:
        found = found.filter(upload__name__icontains=wanted.search)
    if wanted.kind:
        found = found.filter(upload__kind=wanted.kind)
    if wanted.verdict:
        # Reviewers' word comes before the model's.
        found = found.filter(Q(reviewed_verdict=wanted.verdict) | Q(reviewed_verdict="", verdict=wanted.verdict))
        found = found.exclude(verdict="")  # reviewers' word waits for the result of a new run
    if wanted.status:
        found = found.filter(status=wanted.status)
    if wanted.external_id:
        found = found.filter(external_id=wanted.external_id)
    if wanted.since:
        found = found.filter(created_at__date__gte=wanted.since)
    if wanted.until:
        found = found.filter(created_at__date__lte=wanted.until)
    return found.order_by(*SORTS[wanted.sort])


def recent(user: Reader) -> AnalysisQuerySet:
    """What the start page shows: everything that still waits or runs, so that a reload loses nothing of a batch, and
    the newest few."""
    visible = Analysis.objects.visible_to(user)
    newest = list(visible.values_list("pk", flat=True)[:RECENT])
    return analyses_of(user).filter(Q(pk__in=newest) | Q(status__in=Analysis.ACTIVE))[:MOST_RECENT]


def counts_of(user: Reader) -> Counts:
    """For the dashboard, in one query."""
    visible = Analysis.objects.visible_to(user).order_by()
    rows = visible.values_list("status", "verdict", "reviewed_verdict").annotate(Count("pk"))
    by_status: dict[str, int] = {}
    by_verdict: dict[str, int] = {}
    for status, model, reviewers, number in rows:
        by_status[status] = by_status.get(status, 0) + number
        if verdict := model and (reviewers or model):
            by_verdict[verdict] = by_verdict.get(verdict, 0) + number
    return Counts(sum(by_status.values()), by_verdict, by_status)


def expected_seconds(mode: str) -> float | None:
    """When something that is sent now in this mode should be done, by how long the last ones of each mode took and how
    many wait; None if none was done yet. One worker is assumed, so it is rather too long than too short."""
    rows = Analysis.objects.filter(status__in=Analysis.ACTIVE).order_by().values_list("mode").annotate(Count("pk"))
    waiting = {mode: 1} | dict(rows)  # this one is among them, or has just been taken
    took = {each: _usual_seconds(each) for each in waiting}
    known = {each: seconds for each, seconds in took.items() if seconds is not None}
    if mode not in known:
        return None
    return round(sum(seconds * waiting[each] for each, seconds in known.items()), 1)


def _usual_seconds(mode: str) -> float | None:
    recent = Analysis.objects.filter(status=Analysis.Status.SUCCEEDED, mode=mode).order_by("-created_at")
    took = [
        (finished - started).total_seconds()
        for started, finished in recent.values_list("started_at", "finished_at")[:LOOKED_AT]
        if started and finished
    ]
    return sum(took) / len(took) if took else None


def chosen(user: Reader, ids: Iterable[uuid.UUID]) -> AnalysisQuerySet:
    """Of these the ones that exist for this user; the others are left out without a word."""
    return analyses_of(user).filter(pk__in=list(ids))


def get_analysis(user: Reader, analysis_id: uuid.UUID) -> Analysis:
    """Fetch and authorise in one call. Raises Http404 for a stranger's as for none."""
    return get_object_or_404(Analysis.objects.visible_to(user).select_related("upload"), pk=analysis_id)


def get_readable(user: Reader, analysis_id: uuid.UUID) -> Analysis:
    """The same for a reviewer, who also reads what there is to review. Raises Http404."""
    return get_object_or_404(Analysis.objects.readable_by(user).select_related("upload"), pk=analysis_id)


def find_analysis(user: Reader, analysis_id: uuid.UUID, *, as_reviewer: bool = False) -> Analysis | None:
    """The same for those who do not speak HTTP."""
    manager = Analysis.objects
    found = manager.readable_by(user) if as_reviewer else manager.visible_to(user)
    return found.select_related("upload").filter(pk=analysis_id).first()


def names_of_uploads(user: Reader, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Names of those that still exist for this user."""
    return dict(Upload.objects.visible_to(user).filter(pk__in=list(ids)).values_list("pk", "name"))


def get_webhook(user: Reader, webhook_id: uuid.UUID) -> WebhookEndpoint:
    """Raises Http404 for a stranger's as for none."""
    return get_object_or_404(WebhookEndpoint.objects.visible_to(user), pk=webhook_id)


def deliveries(user: Reader) -> WebhookDeliveryQuerySet:
    """What was sent for this user, newest first, in one query, without the bodies."""
    rows = WebhookDelivery.objects.visible_to(user)
    return rows.select_related("event__analysis__upload", "endpoint").defer("event__body")


def get_delivery(user: Reader, delivery_id: uuid.UUID) -> WebhookDelivery:
    """Raises Http404 for a stranger's as for none."""
    return get_object_or_404(deliveries(user), pk=delivery_id)
