"""What people said about a result, as pages, API and files tell it. Roles are told, never names."""

from __future__ import annotations

from typing import Any

from detection.models import Analysis, Dispute, decision

Json = dict[str, Any]

ROLE = "reviewer"


def review_payload(analysis: Analysis) -> Json | None:
    """What reviewers decided about this result; None if nothing, or while there is no result. No query."""
    if not analysis.verdict or not analysis.reviewed_verdict or analysis.reviewed_at is None:
        return None
    return {
        "verdict": analysis.reviewed_verdict,
        "decision": str(decision(analysis.verdict, analysis.reviewed_verdict)),
        "role": ROLE,
        "at": analysis.reviewed_at.isoformat(),
    }


def dispute_payload(analysis: Analysis) -> Json | None:
    """What its user objected to this run, and what came of it; None if nothing. One query."""
    found = Dispute.objects.filter(case__analysis=analysis, case__is_current=True).first()
    if found is None:
        return None
    return {
        "status": found.status,
        "category": found.category,
        "reason": found.reason,
        # A reviewer's draft is not told before the case is decided.
        "answer": "" if found.is_open else found.answer,
        "opened_at": found.opened_at.isoformat(),
        "closed_at": found.closed_at and found.closed_at.isoformat(),
    }
