"""Files in an S3 bucket: Amazon's, or that of a service which speaks its language.

A bucket knows no rename and no folders, only objects whose names may begin alike. So every run of an analysis writes
its pictures under names of its own, ``<upload>/<analysis>/<when it began>/faces/0.jpg``, and ``Analysis.started_at``
says whose pictures count: what a row names is whole, because the row succeeds after the last picture is written. The
rest belongs to nobody, and the clean-up removes it.
"""

from __future__ import annotations

import io
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files.base import File
from s3transfer.exceptions import RetriesExceededError
from storages.backends.s3 import S3Storage

from detection.storage import Remote, StorageAwayError, Write, copies

if TYPE_CHECKING:
    from detection.models import Analysis, Upload

logger = logging.getLogger(__name__)

MARK = ".veriframe"
PART = 8 * 1024 * 1024  # bytes; what is smaller is sent at once
PARTS_IN_MEMORY = 3  # of one file that is being sent
PIECE = 256 * 1024  # bytes of one that is being fetched; so much comes over the slowest line within the lease
TRIES = 3  # of each request
WRITERS = 8  # pictures that are written at once
AT_ONCE = 1000  # as many names as one request may list or delete
MISSING = {"404", "NoSuchKey", "NoSuchUpload"}  # the first is all that an answer without a body can say
FILE = 2  # parts of the name of what was sent; those of a folder of pictures are one more


class Bucket(S3Storage):
    """django-storages' own, as a ``Store``. Its options come from ``config.storages``.

    The credentials come from where boto3 looks for them: environment, files, the machine's role.
    """

    def __init__(self, *, addressing_style: str, **options: Any) -> None:
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": addressing_style},
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            max_pool_connections=2 * WRITERS,
            # Other services than Amazon's do not all know the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
        transfer.max_in_memory_upload_chunks = PARTS_IN_MEMORY
        # Given as None, or django-storages would take some of them from Django's settings.
        keys = {"access_key": None, "secret_key": None, "security_token": None}
        super().__init__(**keys, **options, client_config=config, transfer_config=transfer)

    @cached_property
    def connection(self) -> Any:
        """One for all threads: every request has a thread of its own, and building one takes long.

        Only its client is used, which boto3 says may be shared.
        """
        return self._create_session().resource(
            "s3", region_name=self.region_name, endpoint_url=self.endpoint_url, config=self.client_config
        )

    @property
    def client(self) -> Any:
        return self.connection.meta.client

    def key(self, name: str) -> str:
        """The whole name, with the prefix."""
        key: str = self._normalize_name(name)
        return key

    @property
    def where(self) -> str:
        return f"the bucket {self.bucket_name}"

    def _save(self, name: str, content: File) -> str:
        """Read once, from beginning to end, so that whoever passes it on can count and hash."""
        parts = io.BufferedReader(_Parts(content.chunks()))
        with reached():
            self.client.upload_fileobj(parts, self.bucket_name, self.key(name), Config=self.transfer_config)
        return name

    def stored(self, name: str) -> Object:
        return Object(self, self.key(name))

    def picture(self, analysis: Analysis, name: str) -> Object:
        return self.stored(f"{_attempt(analysis)}/{name}")

    @contextmanager
    def local_copy(self, upload: Upload, on_piece: Callable[[], None]) -> Iterator[Path]:
        name = str(upload.file.name)
        with copies.copy(PurePosixPath(name).suffix) as file:
            try:
                self._fetch(name, file, on_piece)
                file.flush()
                path = Path(file.name)
            except FileNotFoundError:
                path = Path(settings.MEDIA_ROOT, name)  # where there is none: whoever opens it finds that out
            yield path

    def _fetch(self, name: str, file: IO[bytes], on_piece: Callable[[], None]) -> None:
        """In this very thread, piece by piece: boto3's own transfer waits in one call, through which neither a worker's
        shutdown nor a time limit gets.
        """
        with reached(), closing(self.client.get_object(Bucket=self.bucket_name, Key=self.key(name))["Body"]) as body:
            for piece in body.iter_chunks(PIECE):
                file.write(piece)
                on_piece()

    def attempt(self, analysis: Analysis, token: uuid.UUID) -> BucketAttempt:
        del token  # the row forgets it
        return BucketAttempt(self, _attempt(analysis))

    def remove_leftovers(self, analysis: Analysis) -> None:
        self.set_aside(analysis.folder)()

    def has_folder(self, folder: str) -> bool:
        with reached():
            found = self.client.list_objects_v2(Bucket=self.bucket_name, Prefix=self.key(folder) + "/", MaxKeys=1)
        return bool(found.get("Contents"))

    def size_of(self, folder: str) -> int:
        return sum(found["Size"] for found in self._listed(folder))

    def set_aside(self, folder: str) -> Callable[[], None]:
        # A run that begins afterwards writes under other names.
        keys = [found["Key"] for found in self._listed(folder)]
        return partial(self._delete, keys)

    def _listed(self, folder: str) -> Iterator[dict[str, Any]]:
        with reached():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket_name, Prefix=self.key(folder) + "/"
            )
            for page in pages:
                yield from page.get("Contents", ())

    def _delete(self, keys: list[str]) -> None:
        for start in range(0, len(keys), AT_ONCE):
            some = [{"Key": key} for key in keys[start : start + AT_ONCE]]
            with reached():
                done = self.client.delete_objects(Bucket=self.bucket_name, Delete={"Objects": some, "Quiet": True})
            if done.get("Errors"):
                raise StorageAwayError(f"{len(done['Errors'])} objects not deleted: {done['Errors'][0]['Code']}")

    # -- For the clean-up

    def is_marked(self) -> bool:
        return self.stored(MARK).exists()

    def mark(self) -> None:
        self.write(self.key(MARK), b"")

    def write(self, key: str, content: bytes) -> None:
        with reached():
            self.client.put_object(Bucket=self.bucket_name, Key=key, Body=content)

    def folders(self) -> Iterator[PurePosixPath]:
        with reached():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket_name, Prefix=self._prefix, Delimiter="/"
            )
            for page in pages:
                for found in page.get("CommonPrefixes", ()):
                    yield self._relative(found["Prefix"])

    def inside(self, folder: PurePosixPath) -> list[PurePosixPath]:
        # Without the empty objects that some programs write to show a folder: this very one has one, too.
        keys = [found["Key"] for found in self._listed(str(folder)) if not found["Key"].endswith("/")]
        names = [self._relative(key) for key in keys]
        return sorted({PurePosixPath(*name.parts[: FILE + 1]) for name in names})

    def kept(self, analysis: Analysis) -> set[str]:
        return (
            {_attempt(analysis)} if analysis.status in (analysis.Status.RUNNING, analysis.Status.SUCCEEDED) else set()
        )

    def changed(self, name: PurePosixPath) -> float:
        if not self.is_folder(name):
            return self.stored(str(name)).changed()
        times = [found["LastModified"].timestamp() for found in self._listed(str(name))]
        if not times:
            raise FileNotFoundError(name)
        return max(times)

    def keeps_what_is_deleted(self) -> bool:
        with reached():
            status = self.client.get_bucket_versioning(Bucket=self.bucket_name).get("Status")
        return status is not None  # also once it is suspended: what was kept until then stays

    def is_folder(self, name: PurePosixPath) -> bool:
        return len(name.parts) != FILE

    def trash(self, age: timedelta) -> Iterable[Callable[[], None]]:
        del age
        return ()  # there is no rename

    def unfinished(self, age: timedelta) -> Iterable[Callable[[], None]]:
        limit = datetime.now(UTC) - age
        with reached():
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket_name, Prefix=self._prefix
            )
            found = [upload for page in pages for upload in page.get("Uploads", ()) if upload["Initiated"] < limit]
        return [partial(self._abort, upload["Key"], upload["UploadId"]) for upload in found]

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            with reached():
                self.client.abort_multipart_upload(Bucket=self.bucket_name, Key=key, UploadId=upload_id)
        except FileNotFoundError:
            return  # it came to its end

    @property
    def _prefix(self) -> str:
        return f"{self.location}/" if self.location else ""

    def _relative(self, key: str) -> PurePosixPath:
        return PurePosixPath(key.removeprefix(self._prefix))


class Object(Remote):
    """A name in a bucket, and what may lie under it."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._of = {"Bucket": bucket.bucket_name, "Key": key}

    def exists(self) -> bool:
        try:
            self.changed()
        except FileNotFoundError:
            return False
        return True

    def changed(self) -> float:
        with reached():
            modified: datetime = self._bucket.client.head_object(**self._of)["LastModified"]
        return modified.timestamp()

    def unlink(self, missing_ok: bool = False) -> None:
        del missing_ok  # a bucket does not tell
        with reached():
            self._bucket.client.delete_object(**self._of)

    def read_bytes(self) -> bytes:
        with reached():
            content: bytes = self._bucket.client.get_object(**self._of)["Body"].read()
        return content

    def address(self, method: str, *, mime: str, disposition: str) -> str:
        asked = {
            **self._of,
            "ResponseContentType": mime,
            "ResponseContentDisposition": disposition,
            "ResponseCacheControl": "private, no-cache",
        }
        operation = "head_object" if method == "HEAD" else "get_object"
        url: str = self._bucket.client.generate_presigned_url(operation, asked, settings.S3_URL_SECONDS)
        return url


class BucketAttempt:
    """Pictures under names that no other attempt has. They count once the row says when it began and succeeded."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self._bucket = bucket
        self._folder = folder
        self._begun = self._in_place = False

    @contextmanager
    def writing(self) -> Iterator[Write]:
        """Several at once: there may be hundreds, and each takes a way to the bucket and back."""
        sent: list[Future[None]] = []
        pool = ThreadPoolExecutor(WRITERS)

        def write(name: str, content: bytes) -> None:
            sent.append(pool.submit(self._bucket.write, self._bucket.key(f"{self._folder}/{name}"), content))

        self._begun = True
        try:
            yield write
            for written in sent:
                written.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def put_in_place(self) -> None:
        # They are. From here on they stay, also when the commit seems to fail: it may have succeeded all the same.
        self._in_place = True

    def discard(self) -> None:
        if not self._begun or self._in_place:
            return
        try:
            self._bucket.set_aside(self._folder)()
        except StorageAwayError as error:
            logger.warning("pictures that nothing speaks of stay until the next clean-up: %s", error)


class _Parts(io.RawIOBase):
    """What an iterator gives, as a stream that can be read once: boto3 would read a file that can seek twice."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        length = min(len(buffer), len(self._rest))
        buffer[:length], self._rest = self._rest[:length], self._rest[length:]
        return length


@contextmanager
def reached() -> Iterator[None]:
    """Raises FileNotFoundError for what is not there, and StorageAwayError for whatever else goes wrong."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in MISSING:
            raise FileNotFoundError(str(error)) from error
        raise StorageAwayError(str(error)) from error
    except (BotoCoreError, Boto3Error, RetriesExceededError) as error:
        raise StorageAwayError(str(error)) from error


def _attempt(analysis: Analysis) -> str:
    """What the names of an attempt's pictures begin with. No two attempts begin at the same moment: the second one
    waits for the first one's lease or for its word.
    """
    began = analysis.started_at
    return f"{analysis.folder}/{began.astimezone(UTC):%Y%m%dT%H%M%S.%f}" if began else f"{analysis.folder}/none"
