"""What a line of the log says besides its words: the request and the analysis that it is about.

Two formats, ``VERIFRAME_LOG_FORMAT``: a line for people, and an object a line for what collects logs.
python-json-logger and not structlog: the calls stay those of Python's own logging.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from config.redaction import redact

_analysis: ContextVar[str] = ContextVar("analysis_id", default="")


def analysis() -> str:
    """The analysis that this code works for; empty where it is none in particular."""
    return _analysis.get()


def begin(analysis_id: str) -> None:
    """From here on this thread works for that analysis; empty: for none."""
    _analysis.set(analysis_id)


@contextmanager
def about(analysis_id: uuid.UUID | None) -> Iterator[None]:
    """Lines that are written, and messages that are sent, inside belong to this analysis."""
    before = analysis()
    begin(str(analysis_id) if analysis_id else "")
    try:
        yield
    finally:
        begin(before)


class Subject(logging.Filter):
    """Gives every record ``analysis_id``, ``-`` for none; one given as ``extra`` stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.analysis_id = str(getattr(record, "analysis_id", "") or analysis() or "-")
        return True


class JsonLines(JsonFormatter):
    """One object a line: time (ISO 8601, UTC), level, logger, message, process, and what else is known.

    Only the names below get in. Libraries hang whole requests on their records, which say who asked for what.
    """

    redacts = True  # value by value: what a rule takes out of the finished line may hold its quotes and braces
    FIELDS = ("time", "level", "logger", "message", "process", "request_id", "analysis_id", "exc_info", "stack_info")

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message", "process", "request_id", "analysis_id"],
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        kept = {name: log_data[name] for name in self.FIELDS if log_data.get(name) not in (None, "", "-")}
        return {name: redact(value) if isinstance(value, str) else value for name, value in kept.items()}
