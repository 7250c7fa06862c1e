"""Where files are stored, as Django's ``STORAGES`` says it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from config.env import BadSetting

PACKAGES = ("boto3", "storages")


def bucket(*, name: str, endpoint: str, region: str, prefix: str, https: bool) -> dict[str, Any]:
    """The entry for an S3 bucket.

    Args:
        name: of the bucket.
        endpoint: of another service than Amazon's; "" for theirs.
        https: the site is reached by https, and browsers then load nothing without.

    Raises:
        BadSetting: something cannot be, or the packages are missing.
    """
    if not all(find_spec(package) for package in PACKAGES):
        raise BadSetting("VERIFRAME_S3_BUCKET", name, "expected the packages of requirements-s3.txt to be installed")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name) or (not endpoint and "." in name):
        raise BadSetting("VERIFRAME_S3_BUCKET", name, "expected a bucket's name: small letters, digits and hyphens")
    if not re.fullmatch(r"[a-z0-9-]+", region):
        raise BadSetting("VERIFRAME_S3_REGION", region, "expected a region like eu-central-1")
    if not re.fullmatch(r"([\w.-]*[\w-][\w.-]*/?)*", prefix, re.ASCII) or ".." in prefix:
        raise BadSetting("VERIFRAME_S3_PREFIX", prefix, "expected what names begin with, like veriframe or a/b")
    if endpoint and urlsplit(endpoint)._replace(scheme="", netloc="").geturl() not in ("", "/"):
        raise BadSetting("VERIFRAME_S3_ENDPOINT", endpoint, "expected an address without a path")
    if https and endpoint.startswith("http:"):
        raise BadSetting("VERIFRAME_S3_ENDPOINT", endpoint, "expected https://..., because VERIFRAME_HTTPS is on")
    return {
        "BACKEND": "detection.storage.bucket.Bucket",
        "OPTIONS": {
            "bucket_name": name,
            "location": prefix.strip("/"),
            "region_name": region,
            "endpoint_url": endpoint.rstrip("/") or f"https://s3.{region}.amazonaws.com",
            # Amazon wants the bucket in the host's name, most others in the path.
            "addressing_style": "path" if endpoint else "virtual",
        },
    }


def origin(entry: dict[str, Any]) -> str:
    """Where browsers are sent to for a file of that bucket, for the Content-Security-Policy."""
    options = entry["OPTIONS"]
    parts = urlsplit(options["endpoint_url"])
    host = parts.netloc if options["addressing_style"] == "path" else f"{options['bucket_name']}.{parts.netloc}"
    return f"{parts.scheme}://{host}"
