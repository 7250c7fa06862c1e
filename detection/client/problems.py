"""What can go wrong, in words that say what to do."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime

import httpx

# What the user of the command can do, beside what the server says. Empty: the server's sentence is all there is to say.
ADVICE = {
    "missing_file": "",
    "empty_file": "The file has no content: was it written completely?",
    "file_too_large": "Send a shorter or smaller version of it.",
    "unsupported_type": "Convert it to mp4 or jpg first.",
    "content_mismatch": "Is the file what its name says? Convert it to mp4 or jpg first.",
    "too_many_pixels": "Send a smaller version of it.",
    "invalid_request": "",
    "invalid_webhook_url": "Name a public http(s) address.",
    "not_authenticated": "Make a token on the account page and give it by --token or VERIFRAME_TOKEN.",
    "invalid_token": "Was it revoked, or has it expired? Make a new one on the account page.",
    "permission_denied": "",
    "csrf_failed": "Give a token by --token or VERIFRAME_TOKEN.",
    "not_found": "Was it deleted, or does it belong to somebody else?",
    "method_not_allowed": "Is --server the address of a Veriframe server?",
    "conflict": "",
    "storage_full": "Delete files on the account page, or wait until they go by themselves.",
    "media_deleted": "Send the file once more.",
    "idempotency_key_reused": "",
    "idempotency_key_in_use": "",
    "analysis_failed": "",
    "too_many_requests": "Send fewer at once, or go on later.",
    "quota_exceeded": "Go on tomorrow (UTC).",
    "server_error": "Tell the people who run the server the request id.",
    "not_ready": "Try again in a moment.",
    "unavailable": "Try again in a moment.",
    "disk_full": "Tell the people who run the server.",
    "unreachable": "Is --server right, and is the server running?",
    "unexpected_answer": "Is --server the address of a Veriframe server?",
}
# Nothing that is sent after these would fare better.
FATAL = {"not_authenticated", "invalid_token", "permission_denied", "csrf_failed", "unreachable", "unexpected_answer"}


class ClientError(Exception):
    """Something did not work. ``code`` is stable, ``detail`` a sentence for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    @property
    def advice(self) -> str:
        """What to do about it; empty if there is nothing to add."""
        return ADVICE.get(self.code, "")

    @property
    def is_fatal(self) -> bool:
        return self.code in FATAL


class Unreachable(ClientError):  # noqa: N818  (reads as a sentence where it is raised)
    """No answer came."""

    def __init__(self, detail: str) -> None:
        super().__init__("unreachable", detail)


class Problem(ClientError):  # noqa: N818  (RFC 9457's word)
    """The server refused: RFC 9457 problem details.

    Attributes:
        status: of HTTP.
        retry_after: seconds after which the server wants to be asked again; None if it does not say.
        request_id: finds the request in the server's log.
    """

    def __init__(
        self, code: str, detail: str, *, status: int, retry_after: float | None = None, request_id: str = ""
    ) -> None:
        super().__init__(code, detail)
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id


def problem_of(answer: httpx.Response) -> Problem:
    """The refusal that an answer is, also when it came from something in front of the server."""
    try:
        body = answer.json()
        code, detail = str(body["code"]), str(body["detail"])
        request_id = str(body.get("request_id") or answer.headers.get("X-Request-ID", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, detail = "unexpected_answer", f"The server answered {answer.status_code} {answer.reason_phrase}."
        request_id = answer.headers.get("X-Request-ID", "")
    return Problem(code, detail, status=answer.status_code, retry_after=retry_after(answer), request_id=request_id)


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds, of either form that the header may have."""
    value = answer.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
