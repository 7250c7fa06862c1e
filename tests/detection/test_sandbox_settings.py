"""What a site may say about the processes that decode its files."""

from __future__ import annotations

import logging

import pytest
from django.conf import LazySettings

from detection import judges
from detection.engine.wire import Bounds


def test_the_bounds_are_settings(settings: LazySettings):
    settings.DECODE_MEMORY_BYTES, settings.DECODE_SECONDS = 1 << 30, 60
    assert judges._bounds() == Bounds(memory=1 << 30, seconds=60)


def test_the_engine_and_the_site_have_the_same_defaults(settings: LazySettings):
    assert judges._bounds() == Bounds()


def test_who_does_without_is_told_so(settings: LazySettings, caplog: pytest.LogCaptureFixture):
    settings.SANDBOX = False
    with caplog.at_level(logging.WARNING):
        assert judges._bounds() is None
    assert "VERIFRAME_SANDBOX" in caplog.text
