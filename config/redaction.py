"""No line of the log names anybody.

Our own messages say numbers. What libraries and databases say in theirs is not ours to choose: PostgreSQL quotes the
row that it refuses, an SMTP server the recipient, Django the address of a page, which in an e-mail is a key. So the
finished line is gone over once more, whatever wrote it and in whatever format. What is kept of such a traceback: where,
and which kind of error.
"""

from __future__ import annotations

import logging
import re

# What such a thing cannot be without, which is quickly looked for; pattern; what takes its place. In an object a line
# (JSON) the end of a line within is written \\n, quotes are \\".
RULES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    # Of a database's refusal: "DETAIL:  Key (email)=(ann@example.org) already exists.", "Failing row contains (...)".
    (("DETAIL:", "CONTEXT:"), re.compile(r"(DETAIL|CONTEXT):(?:(?!\\n)[^\n])*"), r"\1: (left out)"),
    # Links that set a password or confirm an address.
    (
        ("/accounts/",),
        re.compile(r"(/accounts/(?:password/reset/key|confirm-email)/)[^\s/?\"'<>]+"),
        r"\1(key)",
    ),
    # API tokens, secrets of webhooks, sealed secrets.
    (("vf_", "whsec_", "sealed:"), re.compile(r"(vf_|whsec_|sealed:)[A-Za-z0-9+/=_-]{8,}"), r"\1(secret)"),
    # Headers: as a line, in a dictionary, in ASGI's list of pairs.
    (
        ("ookie", "OOKIE", "uthorization", "UTHORIZATION"),
        re.compile(
            r"""(?i)(authorization|cookie)(\\?['"]\s*,\s*b?\\?['"]|\\?['"]?\s*[:=]\s*\\?['"]?)(?!\s)[^\n\\'"]+"""
        ),
        r"\1\2(secret)",
    ),
    # Passwords inside addresses of services: postgresql://site:PASSWORD@host/name.
    (("://",), re.compile(r"(\w://[^\s/:@]*):[^\s/@]+@"), r"\1:(secret)@"),
    # E-mail addresses, also as they stand in an address of a page. Begun at a word's beginning and never given back:
    # a line of a million letters costs no more than reading it.
    (
        ("@", "%40"),
        re.compile(r"(?:(?<=\\n)|(?<![\\\w.+'-]))[\w.+'-]++(?:@|%40)(?:[\w-]++\.)+\w{2,}"),
        "(address)",
    ),
)


def redact(line: str) -> str:
    """``line`` without addresses of people, keys and what databases quote."""
    for signs, pattern, replacement in RULES:
        if any(sign in line for sign in signs):
            line = pattern.sub(replacement, line)
    return line


class Handler(logging.StreamHandler):
    """To standard error, as logging's own, but redacted."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if getattr(self.formatter, "redacts", False) else redact(line)
