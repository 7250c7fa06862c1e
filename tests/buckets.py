"""An S3 server for tests: moto's, on a free loopback port, in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
REGION = "eu-central-1"
_numbers = count(1)


@dataclass
class S3:
    """A server, and what is in one of its buckets."""

    url: str
    bucket: str = field(default_factory=lambda: f"media-{next(_numbers)}")

    def __post_init__(self) -> None:
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self.client.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})

    def objects(self) -> list[str]:
        """Their names, but for our own mark."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        found = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return sorted(key for key in found if not key.endswith(".veriframe"))

    def read(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def write(self, key: str, content: bytes = b"x" * 10) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def empty(self) -> None:
        for key in self.objects():
            self.client.delete_object(Bucket=self.bucket, Key=key)

    @property
    def settings(self) -> dict[str, str]:
        """For the environment of a server or worker."""
        return {
            **KEYS,
            "VERIFRAME_S3_BUCKET": self.bucket,
            "VERIFRAME_S3_ENDPOINT": self.url,
            "VERIFRAME_S3_REGION": REGION,
            "VERIFRAME_S3_PREFIX": "site",
        }


@contextmanager
def s3_server() -> Iterator[str]:
    """Yields the URL."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it would log every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()
