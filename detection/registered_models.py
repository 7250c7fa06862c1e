"""What people do with models: register, activate, put on trial, retire. Each act is noted in the log of acts.

Everything that changes a state locks all rows first, so that two who act in the same second take turns.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from detection import serving
from detection.engine.errors import ModelError
from detection.engine.registry import ModelSpec, check_files
from detection.models import RegisteredModel
from detection.problems import Refused
from detection.review import audit

State = RegisteredModel.State


def register(spec: ModelSpec, *, by: User | None = None) -> RegisteredModel:
    """The row of a model, made if there is none. ``by`` is None for the machine itself.

    Should another file have taken its name and version (a shipped one may, with another release), what was known and
    what was decided of the old file is forgotten: nobody chose the new one.
    """
    with transaction.atomic():
        row, created = RegisteredModel.objects.get_or_create(
            name=spec.name, version=spec.version, defaults={"sha256": spec.sha256}
        )
        if created:
            _note(audit.Action.REGISTER, row, by, before={}, after={"sha256": spec.sha256})
        elif row.sha256 != spec.sha256:
            row = _locked(row)
            before = {"sha256": row.sha256, "state": row.state}
            row.sha256, row.gate, row.passed_gate, row.forced_reason = spec.sha256, None, False, ""
            row.save(update_fields=["sha256", "gate", "passed_gate"])
            _set(row, State.AVAILABLE)
            _note(audit.Action.REGISTER, row, by, before=before, after={"sha256": spec.sha256})
    return row


def sync() -> list[RegisteredModel]:
    """Rows for everything that lies in the folders. Raises ModelError for an entry that is malformed."""
    return [register(spec) for spec in serving.models()]


def needs_reason(row: RegisteredModel) -> bool:
    """Whether it has passed no comparison with the model that judges now; one with an earlier model says nothing.

    The model that is shipped as the default needs none: it was measured before it was shipped, and going back to it
    must be quick.
    """
    if _is_default(row):
        return False
    served = serving.served_if_any()
    if served is None or row.gate is None or not row.passed_gate:
        return True
    champion = row.gate["champion"]
    return (champion["model"], champion["sha256"]) != (served.label, served.sha256)


def activate(row: RegisteredModel, *, by: User | None, reason: str = "") -> None:
    """Have it judge from the next analysis on; what had judged is available again.

    The default gets no active row: who goes back to it follows it into the next release, which ships another one.

    Args:
        reason: why it judges without having passed a comparison; if there is one, it is noted as forced.

    Raises Refused: ``conflict`` if its files are missing or changed, or if it judges already; ``invalid_request`` if it
    needs a reason (see ``needs_reason``) and none is given.
    """
    _require_files(row)
    with transaction.atomic():
        row = _locked(row)
        before = RegisteredModel.objects.filter(state=State.ACTIVE).first()
        if row == before or (before is None and _is_default(row)):
            raise Refused("conflict", _("This model is active already."))
        row.forced_reason = reason.strip()
        if needs_reason(row) and not row.forced_reason:
            raise Refused(
                "invalid_request",
                _("This model has not passed a comparison with the one that judges now. Say why it is used."),
            )
        if before is not None:
            _set(before, State.AVAILABLE)
        _set(row, State.AVAILABLE if _is_default(row) else State.ACTIVE)
        after = {"forced": bool(row.forced_reason)}
        _note(audit.Action.ACTIVATE, row, by, before={"model": str(before or "")}, after=after)


def put_on_trial(row: RegisteredModel, *, share: int, by: User | None) -> None:
    """Have it judge ``share`` percent of new analyses silently; another challenger is available again.

    Raises Refused: ``conflict`` if its files are missing or changed, or if it is the one that judges.
    """
    _require_files(row)
    with transaction.atomic():
        row = _locked(row)
        if judges(row):
            raise Refused("conflict", _("The active model cannot challenge itself."))
        others = RegisteredModel.objects.filter(state=State.CHALLENGER).exclude(pk=row.pk)
        others.update(state=State.AVAILABLE, share=None, state_since=timezone.now())
        _set(row, State.CHALLENGER, share=share)
        _note(audit.Action.CHALLENGE, row, by, after={"share": share})


def retire(row: RegisteredModel, *, by: User | None) -> None:
    """Take it out of use; its row stays, and it can come back.

    Raises Refused (``conflict``) for the one that judges.
    """
    with transaction.atomic():
        row = _locked(row)
        if judges(row):
            raise Refused("conflict", _("The active model cannot be retired. Activate another one first."))
        before = row.state
        _set(row, State.RETIRED)
        _note(audit.Action.RETIRE, row, by, before={"state": before})


def judges(row: RegisteredModel) -> bool:
    """Whether new analyses are judged by it, or would be without ``VERIFRAME_MODEL``."""
    if row.state == State.ACTIVE:
        return True
    served = serving.served_if_any()
    return served is not None and (row.name, row.version) == (served.name, served.version)


def _is_default(row: RegisteredModel) -> bool:
    try:
        spec = serving.default()
    except ModelError:
        return False
    return (row.name, row.version, row.sha256) == (spec.name, spec.version, spec.sha256)


def _require_files(row: RegisteredModel) -> None:
    """Before any lock: hashing takes a while."""
    try:
        check_files(serving.spec_of(row))
    except ModelError as error:
        raise Refused("conflict", _("This model cannot be used: %(why)s") % {"why": error}) from error


def _locked(row: RegisteredModel) -> RegisteredModel:
    rows = {known.pk: known for known in RegisteredModel.objects.select_for_update().order_by("pk")}
    return rows[row.pk]


def _set(row: RegisteredModel, state: RegisteredModel.State, *, share: int | None = None) -> None:
    row.state, row.share, row.state_since = state, share, timezone.now()
    row.save(update_fields=["state", "share", "state_since", "forced_reason"])


def _note(
    action: audit.Action,
    row: RegisteredModel,
    by: User | None,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    told = {"model": str(row), **(after or {})}
    audit.record(action, "model", id_=str(row.pk), actor=by, before=before, after=told)
