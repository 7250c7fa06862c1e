"""Errors with a stable code. Anything else that escapes the engine is a bug."""

from __future__ import annotations

from enum import StrEnum


def gettext_noop(sentence: str) -> str:
    """Mark a sentence for translation and return it as it is: the engine speaks English, who shows it may translate.

    By this name ``xgettext`` knows it. Only whole, constant sentences can be found again once they are stored.
    """
    return sentence


class ErrorCode(StrEnum):
    """Why an analysis failed. Clients rely on these words: add, never rename."""

    UNREADABLE_MEDIA = "unreadable_media"
    UNSUPPORTED_CODEC = "unsupported_codec"
    MEDIA_TOO_LONG = "media_too_long"
    TOO_MANY_PIXELS = "too_many_pixels"
    MODEL_UNAVAILABLE = "model_unavailable"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    DISK_FULL = "disk_full"
    INTERNAL_ERROR = "internal_error"


class EngineError(Exception):
    """A failure that a user can be told about.

    Attributes:
        code: stable word for programs.
        message: one or two sentences for people: what is wrong and what they can do.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class MediaError(EngineError):
    """The file cannot be analysed, whoever tries."""


class ModelError(EngineError):
    """The model is missing, changed, or does not fit its registry entry."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.MODEL_UNAVAILABLE, message)


class Cancelled(Exception):  # noqa: N818  (not an error: somebody asked for it)
    """Raised by an event listener to stop a run; the pipeline lets it pass."""
