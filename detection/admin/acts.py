"""What staff do to analyses in the admin, each act with its entry in the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction
from django.http import HttpRequest

from detection import services
from detection.admin.readonly import staff
from detection.models import Analysis, AuditEntry, Rerun
from detection.problems import Refused
from detection.review import audit

Changes = dict[str, Any]  # ``before`` and ``after`` of an entry


def for_each(
    request: HttpRequest,
    analyses: Iterable[Analysis],
    action: AuditEntry.Action,
    act: Callable[[Analysis], Changes | None],
) -> tuple[int, Counter[str]]:
    """Do something to each and note it, both or neither.

    Returns for how many it was done, and why not for the others.
    """
    done, refusals = 0, Counter[str]()
    for analysis in analyses:
        try:
            with transaction.atomic():
                audit.record(action, analysis, actor=staff(request), **(act(analysis) or {}))
        except Refused as refused:
            refusals[refused.detail] += 1
        else:
            done += 1
    return done, refusals


def run_again(request: HttpRequest, analyses: Iterable[Analysis]) -> tuple[int, Counter[str]]:
    """With the model that judges now, at nobody's expense. What was found before is kept, to see what changes."""

    def act(analysis: Analysis) -> Changes:
        before = {"model": analysis.model_version}
        had_result = analysis.status == Analysis.Status.SUCCEEDED
        services.retry(analysis=analysis, by=staff(request))
        if had_result:
            _note_before(analysis)
        return {"before": before}

    return for_each(request, analyses, audit.Action.RERUN, act)


def _note_before(analysis: Analysis) -> None:
    """``analysis`` as it was read before it was sent again."""
    kept = ("model_name", "model_version", "model_sha256", "verdict", "score", "threshold")
    Rerun.objects.create(analysis=analysis, **{name: getattr(analysis, name) for name in kept})
