"""The history as CSV, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from detection.models import Analysis

COLUMNS = (
    "id",
    "name",
    "kind",
    "status",
    "verdict",
    "score",
    "threshold",
    "reasons",
    "error_code",
    "sent",
    "finished",
    "duration_seconds",
    "size_bytes",
    "sha256",
    "total_frames",
    "deepfake_frames",
    "model",
    "model_version",
    "model_sha256",
    "model_verdict",
    "reviewed",
    "mode",
)
# A spreadsheet takes a cell that begins like this for a formula, and file names come from strangers
# (OWASP, "CSV injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe(cell: object) -> object:
    """Text that a spreadsheet shows as text; numbers and empty cells as they are."""
    if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA):
        return "'" + cell
    return cell


def history_csv(analyses: Iterable[Analysis]) -> bytes:
    """One line per analysis under a head of column names. UTF-8 with the mark that Excel needs to see that it is."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for analysis in analyses:
        writer.writerow([safe(cell) for cell in _cells(analysis)])
    return text.getvalue().encode("utf-8-sig")


def _cells(analysis: Analysis) -> tuple[object, ...]:
    upload = analysis.upload
    return (
        str(analysis.pk),
        upload.name,
        upload.kind,
        analysis.status,
        analysis.final_verdict,
        analysis.score,
        analysis.threshold,
        " ".join(reason["code"] for reason in analysis.reasons),
        analysis.error_code,
        analysis.created_at.isoformat(timespec="seconds"),
        analysis.finished_at.isoformat(timespec="seconds") if analysis.finished_at else "",
        upload.duration,
        upload.size,
        upload.sha256,
        analysis.total_frames,
        analysis.deepfake_frames,
        analysis.model_name,
        analysis.model_version,
        analysis.model_sha256,
        analysis.verdict,
        analysis.reviewed_at.isoformat(timespec="seconds") if analysis.reviewed_at else "",
        analysis.mode,
    )
