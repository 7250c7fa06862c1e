"""A site whose files lie in a bucket of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from config import storages
from detection.storage import bucket
from tests import buckets
from tests.buckets import S3


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with buckets.s3_server() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> S3:
    """Everything of this test is stored there, below ``site/``."""
    found = S3(s3_url)
    use(found.url, found.bucket, settings, monkeypatch)
    return found


def use(url: str, name: str, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in buckets.KEYS.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(bucket, "TRIES", 1)
    entry = storages.bucket(name=name, endpoint=url, region=buckets.REGION, prefix="site", https=False)
    settings.STORAGES = {**settings.STORAGES, "default": entry}
