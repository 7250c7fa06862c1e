"""What no line of the log may say, whoever wrote it."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest
from django.conf import settings as site

from config.redaction import Handler, redact


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("450 <ann.smith+x@mail.example.org>: try later", "450 <(address)>: try later"),
        ("Not Found: /accounts/?email=ann%40example.org", "Not Found: /accounts/?email=(address)"),
        (
            'violates "unique_email"\nDETAIL:  Key (email)=(Ann Smith) already exists.\nmore',
            'violates "unique_email"\nDETAIL: (left out)\nmore',
        ),
        (
            "Forbidden: /accounts/password/reset/key/4-c9x-0a1b2c/ (403)",
            "Forbidden: /accounts/password/reset/key/(key)/ (403)",
        ),
        ("Gone: /accounts/confirm-email/MQ:1v2:abc/", "Gone: /accounts/confirm-email/(key)/"),
        ("Authorization: Token vf_0123456789abcdef", "Authorization: (secret)"),
        ("[(b'host', b'a'), (b'cookie', b'sessionid=s3')]", "[(b'host', b'a'), (b'cookie', b'(secret)')]"),
        ("the key vf_0123456789abcdef is not known", "the key vf_(secret) is not known"),
        ("signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw=", "signed with whsec_(secret)"),
        ("postgresql://site:hunter2@db:5432/site is away", "postgresql://site:(secret)@db:5432/site is away"),
        (
            "analysis 141a68e1: no cookie was sent, 3 frames @ 25 fps",
            "analysis 141a68e1: no cookie was sent, 3 frames @ 25 fps",
        ),
    ],
)
def test_a_line(line: str, expected: str):
    assert redact(line) == expected
    # The same as an object a line, which must stay one.
    assert json.loads(redact(json.dumps({"message": line})))["message"] == expected


def test_what_begins_a_line_within_a_line_of_json():
    for word in ("ann@example.org", "vf_0123456789abcdef", "Cookie: sessionid=s3"):
        line = redact(json.dumps({"exc_info": f"first\n{word}\nlast"}))
        assert word not in line
        assert json.loads(line)["exc_info"].endswith("\nlast")


@pytest.mark.parametrize("long", ["a" * 1_000_000, "a." * 500_000, "@a." * 300_000, "cookie" * 100_000])
def test_a_long_line_does_not_hold_everything_up(long: str):
    """Nothing is read twice; were it, these would take hours and the suite's time limit would say so."""
    assert redact(long)


def test_tracebacks_too():
    stream = io.StringIO()
    handler = Handler(stream)
    try:
        raise ValueError("450 <ann@example.org>: try later")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    handler.emit(record)
    assert "(address)" in stream.getvalue()
    assert "ann@" not in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_every_line_of_the_site_goes_through_it():
    handlers = site.LOGGING["handlers"]
    assert {handler["class"] for handler in handlers.values()} == {"config.redaction.Handler"}
    assert site.LOGGING["root"]["handlers"]
    assert not [name for name, logger in site.LOGGING["loggers"].items() if logger.get("handlers")]
