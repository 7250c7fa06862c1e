"""What reviewers and users do about a result: take it, judge it, say that it is wrong, allow its use.

Everything that changes a case begins by locking its analysis' owner and then its row, as everything does that changes
the analysis: two who act in the same second take turns, and the second one sees what the first one did.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.preferences import language_for
from detection import open_access, progress, retention
from detection.models import (
    HUMAN_VERDICTS,
    Analysis,
    Dispute,
    Review,
    ReviewCase,
    Upload,
    WebhookEvent,
    may_review,
)
from detection.problems import Refused
from detection.review import audit, notices, rules
from detection.webhooks import outbox

logger = logging.getLogger(__name__)

Status = Analysis.Status


# -- Reviewers --------------------------------------------------------------------------------------------------------


def give_opinion(
    *, analysis: Analysis, reviewer: User, verdict: str, note: str = "", answer: str = "", run: str = ""
) -> ReviewCase:
    """Store one reviewer's verdict, and the decision if it makes one.

    Args:
        verdict: one of ``HUMAN_VERDICTS``.
        note: for other reviewers.
        answer: for the user who disputed the result; told when the case is decided.
        run: the ``run_of`` the analysis as the reviewer saw it; empty: as it is now.

    Raises:
        Refused: ``permission_denied`` for one's own upload, ``conflict`` if there is no result, it is not the one that
            was looked at, one has judged it before, or others have decided it.
    """
    if verdict not in HUMAN_VERDICTS:
        raise ValueError(f"not a verdict of people: {verdict!r}")
    with transaction.atomic():
        row = _locked(analysis)
        _require_reviewable(row, reviewer, run)
        case = open_case(row)
        _require_undecided(case, reviewer)
        Review.objects.create(case=case, reviewer=reviewer, verdict=verdict, note=note.strip())
        dispute = case.open_dispute
        if dispute is not None and answer.strip():
            # The next reviewer sees it and may write a better one.
            Dispute.objects.filter(pk=dispute.pk).update(answer=answer.strip()[: Dispute.LONGEST])
        audit.record(audit.Action.REVIEW, row, actor=reviewer, before=_model_said(row), after={"verdict": verdict})
        _settle(case, row, actor=reviewer)
    return case


def run_of(analysis: Analysis) -> str:
    """Names the run whose result is there now."""
    return analysis.finished_at.isoformat() if analysis.finished_at else ""


def open_case(analysis: Analysis) -> ReviewCase:
    """The case of the present run, made if there is none. Call it with the analysis' row locked."""
    said = {
        "model_verdict": analysis.verdict,
        "model_score": analysis.score,
        "model_name": analysis.model_name,
        "model_version": analysis.model_version,
        "media_kind": analysis.upload.kind,
    }
    case, _created = ReviewCase.objects.get_or_create(analysis_id=analysis.pk, is_current=True, defaults=said)
    if not case.model_verdict:  # made for a dispute before the new run had ended
        ReviewCase.objects.filter(pk=case.pk).update(**said)
    return case


def assign(*, analyses: Iterable[Analysis], reviewer: User | None, by: User) -> int:
    """Give cases to a reviewer, or to nobody. What is decided, or the reviewer's own, is left alone.

    Returns how many were given. Raises Refused (``invalid_request``) for somebody who may not review.
    """
    if reviewer is not None and not may_review(reviewer):
        raise Refused("invalid_request", _("This account may not review."))
    return sum(_assign(analysis, reviewer, by) for analysis in analyses)


def _assign(analysis: Analysis, reviewer: User | None, by: User) -> bool:
    with transaction.atomic():
        retention.lock_owner(analyses=analysis.pk)
        row = Analysis.objects.select_for_update().filter(pk=analysis.pk, status=Status.SUCCEEDED).first()
        if row is None or (reviewer is not None and row.upload.user_id == reviewer.pk):
            return False
        case = open_case(row)
        if case.is_decided:
            return False
        before = case.assigned_to_id
        ReviewCase.objects.filter(pk=case.pk).update(assigned_to=reviewer)
        after = reviewer.pk if reviewer else None
        audit.record(audit.Action.ASSIGN, row, actor=by, before={"assigned_to": before}, after={"assigned_to": after})
    return True


def _locked(analysis: Analysis) -> Analysis:
    retention.lock_owner(analyses=analysis.pk)  # a decision writes an event of theirs
    row = Analysis.objects.select_for_update().filter(pk=analysis.pk).first()
    if row is None:
        raise Refused("conflict", _("The analysis was deleted."))
    return row


def _require_reviewable(row: Analysis, reviewer: User, run: str) -> None:
    if not may_review(reviewer) or row.upload.user_id == reviewer.pk:
        raise Refused("permission_denied", _("Nobody reviews what is one's own."))
    if row.status != Status.SUCCEEDED or (run and run != run_of(row)):
        raise Refused("conflict", _("The file was analysed anew in the meantime. Look at the new result first."))


def _require_undecided(case: ReviewCase, reviewer: User) -> None:
    """A unique constraint stands behind the second one."""
    if case.is_decided:
        raise Refused(
            "conflict", _("Another reviewer has just decided this case. Your opinion was not needed and is not stored.")
        )
    if case.reviews.filter(reviewer=reviewer).exists():
        raise Refused("conflict", _("You have judged this case before. Another reviewer has to."))


def _model_said(row: Analysis) -> dict[str, Any]:
    return {"model": row.model_version, "verdict": row.verdict, "score": row.score, "run": run_of(row)}


def _settle(case: ReviewCase, row: Analysis, *, actor: User | None) -> None:
    """Decide the case if its opinions suffice; tell everybody whom it concerns."""
    dispute = case.open_dispute
    opinions = [review.verdict for review in case.reviews.counting()]
    verdict = rules.settle(opinions, rules.needed(disputed=dispute is not None))
    if verdict is None:
        return
    now = timezone.now()
    ReviewCase.objects.filter(pk=case.pk).update(verdict=verdict, decided_at=now)
    before = row.reviewed_verdict
    Analysis.objects.filter(pk=row.pk).update(
        reviewed_verdict=verdict, reviewed_at=now, review_unseen=True, revision=F("revision") + 1
    )
    if dispute is not None:
        Dispute.objects.filter(pk=dispute.pk).update(status=Dispute.Status.ANSWERED, closed_at=now)
        retention.release(row)
    row.refresh_from_db()
    after = {"verdict": verdict, "opinions": len(opinions), "run": run_of(row)}
    audit.record(audit.Action.DECIDE, row, actor=actor, before={"verdict": before}, after=after)
    outbox.record(row, WebhookEvent.Type.REVIEWED)
    # robust: the decision is stored by then.
    transaction.on_commit(lambda: progress.publish(row.pk, progress.updated(row)), robust=True)
    transaction.on_commit(lambda: notices.send(row.pk), robust=True)
    logger.info("analysis %s: reviewed, %s", row.pk, verdict)


# -- Users ------------------------------------------------------------------------------------------------------------


def dispute(*, analysis: Analysis, category: str, reason: str = "") -> Dispute:
    """Its user says that a result is wrong: it goes to the front of the queue, decided or not.

    What reviewers had decided before stays the verdict until others have looked.

    Raises Refused (``conflict``) without a result, and for a second dispute of the same one.
    """
    with transaction.atomic():
        row = _locked(analysis)
        if row.status != Status.SUCCEEDED or row.upload.user.email == open_access.EMAIL:
            raise Refused("conflict", _("There is no result that could be wrong."))
        case = open_case(row)
        earlier = Dispute.objects.filter(case=case).first()
        if earlier is not None and earlier.status != Dispute.Status.WITHDRAWN:
            raise Refused("conflict", _("You have said so before. Each result is looked at again once."))
        values: dict[str, Any] = {"category": category, "reason": reason.strip()[: Dispute.LONGEST]}
        values |= {"status": Dispute.Status.OPEN, "answer": "", "closed_at": None}
        # The time of the first one is kept: it limits for how long the file may be held.
        row_of, _created = Dispute.objects.update_or_create(
            case=case, defaults=values, create_defaults={**values, "opened_at": timezone.now()}
        )
        ReviewCase.objects.filter(pk=case.pk).update(decided_at=None)
        retention.hold(row)
        audit.record(audit.Action.DISPUTE, row, role=audit.Role.USER, after={"category": category})
    logger.info("analysis %s: disputed", row.pk)
    return row_of


def withdraw(*, analysis: Analysis) -> None:
    """Take a dispute back. Raises Refused (``conflict``) if there is none that is open."""
    with transaction.atomic():
        row = _locked(analysis)
        case = ReviewCase.objects.filter(analysis=row, is_current=True).first()
        open_one = case.open_dispute if case else None
        if case is None or open_one is None:
            raise Refused("conflict", _("There is no open dispute."))
        _close(open_one, row, answer="")  # also of a reviewer's draft
        audit.record(audit.Action.WITHDRAW, row, role=audit.Role.USER)
        # While it is run again there is nothing to tell yet.
        if not row.reviewed_verdict and row.status == Status.SUCCEEDED:
            _settle(case, row, actor=None)


def end_without_result(analysis: Analysis) -> None:
    """A new run failed or was cancelled: nothing is left that an open dispute could be about, and no reviewer will see
    it. It is closed with a word about why. Inside the transaction that ends the run.
    """
    open_one = Dispute.objects.filter(
        case__analysis=analysis.pk, case__is_current=True, status=Dispute.Status.OPEN
    ).first()
    if open_one is None:
        return
    with translation.override(language_for(analysis.upload.user)):
        answer = _("The file was analysed anew, and that ended without a result. There is nothing left to object to.")
    _close(open_one, analysis, answer=answer)
    audit.record(audit.Action.WITHDRAW, analysis, after={"status": analysis.status})


def _close(dispute: Dispute, analysis: Analysis, *, answer: str) -> None:
    """Nobody has to answer it any more."""
    Dispute.objects.filter(pk=dispute.pk).update(
        status=Dispute.Status.WITHDRAWN, answer=answer, closed_at=timezone.now()
    )
    retention.release(analysis)
    if analysis.reviewed_verdict:
        # It had been decided before: then that is the decision again, and nobody need be told.
        case = ReviewCase.objects.filter(pk=dispute.case_id)
        case.update(verdict=analysis.reviewed_verdict, decided_at=analysis.reviewed_at)


def supersede(analysis: Analysis, *, by: User | None) -> None:
    """A new run begins: its result is nobody's opinion yet. Inside the transaction that begins it.

    The old case is kept, for statistics; an open dispute goes over to the new one, because what it asks for was not
    done.

    Args:
        analysis: as the row was before.
        by: staff who began it; None: its user.
    """
    case = ReviewCase.objects.filter(analysis_id=analysis.pk, is_current=True).first()
    if case is None:
        return
    ReviewCase.objects.filter(pk=case.pk).update(is_current=False)
    open_one = case.open_dispute
    if open_one is not None:
        fresh = ReviewCase.objects.create(analysis_id=analysis.pk, assigned_to_id=case.assigned_to_id)
        Dispute.objects.filter(pk=open_one.pk).update(case=fresh)
    before = {"verdict": case.verdict, "opinions": case.reviews.count()}
    audit.record(audit.Action.SUPERSEDE, analysis, actor=by, role=None if by else audit.Role.USER, before=before)


def set_consent(*, analysis: Analysis, given: bool) -> None:
    """Its user allows, or no longer allows, that the file is used to improve the detector."""
    with transaction.atomic():
        row = _locked(analysis)
        before = row.upload.consented_at is not None
        if before == given:
            return
        Upload.objects.filter(pk=row.upload_id).update(consented_at=timezone.now() if given else None)
        after = {"consent": given}
        audit.record(audit.Action.CONSENT, row, role=audit.Role.USER, before={"consent": before}, after=after)


def mark_seen(analysis: Analysis) -> None:
    """Its user has opened the page that says what reviewers decided."""
    if analysis.review_unseen:
        Analysis.objects.filter(pk=analysis.pk).update(review_unseen=False)
