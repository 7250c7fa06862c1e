"""The settings of a bucket: what cannot be is said at start."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from config import storages
from config.env import BadSetting
from detection.storage.bucket import Bucket
from tests.e2e.server import ROOT

SITE = {"name": "media", "endpoint": "", "region": "eu-central-1", "prefix": "", "https": True}


def entry(**changed: object) -> dict:
    return storages.bucket(**{**SITE, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"name": "My Bucket"}, "VERIFRAME_S3_BUCKET"),
        ({"name": "media.example.org"}, "VERIFRAME_S3_BUCKET"),  # no certificate covers it below Amazon's name
        ({"region": "eu central"}, "VERIFRAME_S3_REGION"),
        ({"prefix": "../other"}, "VERIFRAME_S3_PREFIX"),
        ({"prefix": "/other"}, "VERIFRAME_S3_PREFIX"),
        ({"endpoint": "https://s3.example.org/media"}, "VERIFRAME_S3_ENDPOINT"),
        ({"endpoint": "http://s3.example.org"}, "VERIFRAME_S3_ENDPOINT"),  # browsers would not load it
    ],
)
def test_what_cannot_be(changed: dict, named: str):
    with pytest.raises(BadSetting, match=named):
        entry(**changed)


def test_the_packages_are_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storages, "PACKAGES", ("boto3", "a_package_that_there_is_not"))
    with pytest.raises(BadSetting, match=r"requirements-s3\.txt"):
        entry()


@pytest.mark.parametrize(
    ("changed", "origin"),
    [
        ({}, "https://media.s3.eu-central-1.amazonaws.com"),
        ({"region": "us-east-1", "prefix": "a/b"}, "https://media.s3.us-east-1.amazonaws.com"),
        ({"endpoint": "https://s3.example.org:9000/"}, "https://s3.example.org:9000"),
        ({"endpoint": "http://10.0.0.7", "https": False}, "http://10.0.0.7"),
    ],
)
def test_browsers_are_sent_where_our_pages_allow_it(changed: dict, origin: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    found = entry(**changed)
    assert storages.origin(found) == origin
    picture = Bucket(**found["OPTIONS"]).stored("x/faces/0.jpg")
    parts = urlsplit(picture.address("GET", mime="image/jpeg", disposition="inline"))
    assert f"{parts.scheme}://{parts.netloc}" == origin
    assert parts.path.endswith(f"{found['OPTIONS']['location']}/x/faces/0.jpg".removeprefix("/"))


WITHOUT = """
import sys, django
django.setup()
from django.core.files.storage import default_storage
import config.asgi, detection.urls
default_storage.exists("x")
print(type(default_storage._wrapped).__name__, sorted({"boto3", "botocore", "storages"} & set(sys.modules)))
"""


def test_without_a_bucket_nothing_of_it_is_loaded():
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Folder []", done.stderr
