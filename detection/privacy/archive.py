"""Everything that is stored about a user, as one ZIP file that is sent while it is made.

Memory holds one report or one block of rows at a time, however much there is.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model
from django.utils import translation
from django.utils.translation import gettext as _

from accounts.models import ApiToken, User
from detection import reports
from detection.models import (
    Analysis,
    AuditEntry,
    CallbackKey,
    ChallengerScore,
    DailyUse,
    DeletionReceipt,
    Dispute,
    IdempotentRequest,
    Rerun,
    RetentionChoice,
    Review,
    ReviewCase,
    Upload,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from detection.reports.pdf import report_pdf

ROWS = 500  # read from the database at a time


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind that belong to a user.

    Attributes:
        name: of the file.
        owner: the lookup that leads to the user.
        without: fields that are left out: secrets, of which a copy could only be stolen, and what is about others.
    """

    name: str
    model: type[Model]
    owner: str
    without: frozenset[str] = frozenset()

    def rows(self, user: User) -> Iterator[dict[str, Any]]:
        fields = [f.attname for f in self.model._meta.concrete_fields if f.name not in self.without]
        found = self.model._base_manager.filter(**{self.owner: user.pk}).order_by("pk")
        return found.values(*fields).iterator(chunk_size=ROWS)


@dataclass(frozen=True, slots=True)
class AuditTable(Table):
    """What was done to a user's analyses, which the log names by number. It cannot say whose deleted ones were."""

    def rows(self, user: User) -> Iterator[dict[str, Any]]:
        fields = [f.attname for f in self.model._meta.concrete_fields if f.name not in self.without]
        ids = iter(list(Analysis.objects.filter(**{self.owner: user.pk}).order_by("pk").values_list("pk", flat=True)))
        while some := [str(pk) for pk in islice(ids, ROWS)]:
            found = AuditEntry.objects.filter(object_type="analysis", object_id__in=some)
            yield from found.order_by("pk").values(*fields).iterator(chunk_size=ROWS)


SIGNING = frozenset({"sealed_secret", "sealed_previous_secret"})
TABLES = (
    Table("account", User, "pk", frozenset({"password"})),
    Table("roles", Group, "user"),
    Table("e-mail-addresses", EmailAddress, "user"),
    Table("second-factors", Authenticator, "user", frozenset({"data"})),
    Table("signed-in-browsers", UserSession, "user", frozenset({"session_key"})),
    Table("tokens", ApiToken, "user", frozenset({"digest"})),
    Table("usage", DailyUse, "user"),
    Table("retention", RetentionChoice, "user"),
    Table("uploads", Upload, "user"),
    Table("analyses", Analysis, "upload__user", frozenset({"claim_token"})),
    Table("review-cases", ReviewCase, "analysis__upload__user", frozenset({"assigned_to"})),
    Table("reviews", Review, "case__analysis__upload__user", frozenset({"reviewer", "note"})),
    Table("challenger-scores", ChallengerScore, "analysis__upload__user"),
    Table("new-runs", Rerun, "analysis__upload__user"),
    Table("disputes", Dispute, "case__analysis__upload__user"),
    Table("reviews-given", Review, "reviewer"),
    AuditTable("audit", AuditEntry, "upload__user", frozenset({"actor", "before", "after"})),
    Table("deletion-receipts", DeletionReceipt, "user"),
    Table("requests-remembered", IdempotentRequest, "user"),
    Table("webhooks", WebhookEndpoint, "user", SIGNING),
    Table("webhook-callback-key", CallbackKey, "user", SIGNING),
    Table("webhook-events", WebhookEvent, "user"),
    Table("webhook-deliveries", WebhookDelivery, "event__user"),
)


class Pipe(io.RawIOBase):
    """What is written into it can be taken out. It cannot seek, which tells ``zipfile`` not to."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def stream(user: User, language: str) -> Iterator[bytes]:
    """The archive, in blocks that are never empty. ``language`` is that of the reports."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for _entry in _entries(archive, user, language):
            if block := pipe.take():
                yield block
    yield pipe.take()


def _entries(archive: zipfile.ZipFile, user: User, language: str) -> Iterator[None]:
    """Write entry by entry; whenever it yields, what was written may be taken away."""
    with translation.override(language):
        archive.writestr("README.txt", _read_me())
    yield
    for table in TABLES:
        with archive.open(f"data/{table.name}.json", "w") as file:
            for block in _json_blocks(table.rows(user)):
                file.write(block)
                yield
    ids = list(Analysis.objects.visible_to(user).order_by("created_at").values_list("pk", flat=True))
    for pk in ids:
        analysis = Analysis.objects.visible_to(user).select_related("upload").filter(pk=pk).first()
        if analysis is None:
            continue  # deleted since the download began
        for name, content in _reports(analysis, language):
            archive.writestr(name, content)
            yield


def _json_blocks(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """An array, a row a line."""
    start = "[\n"
    for row in rows:
        yield f"{start}{json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False)}".encode()
        start = ",\n"
    yield b"\n]\n" if start.startswith(",") else b"[]\n"


def _reports(analysis: Analysis, language: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents: JSON of every analysis, and the PDF of what has a result."""
    with translation.override(language):
        found = json.dumps(reports.report_json(analysis), cls=DjangoJSONEncoder, ensure_ascii=False, indent=2)
        printed = report_pdf(analysis) if analysis.status == Analysis.Status.SUCCEEDED else None
    yield f"reports/{reports.report_name(analysis, 'json')}", found.encode()
    if printed is not None:
        yield f"reports/{reports.report_name(analysis, 'pdf')}", printed


def _read_me() -> str:
    return _(
        "This is everything that Veriframe stores about you, except files: those that are still there can be saved\n"
        "from the pages of their results.\n"
        "\n"
        "data/     what is stored, as JSON: one file for each kind of fact\n"
        "reports/  a report of each analysis, as JSON and, if it came to a result, as PDF\n"
        "\n"
        "Passwords, keys and secrets are left out, and so is what other people wrote for each other.\n"
    )
