"""Where the files of a form are while they arrive."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler

INCOMING = ".incoming"


def incoming() -> Path:
    """Beside the files that they become. They have no name there, so that nothing is left of a killed process; what
    an older version left half-sent the clean-up removes.

    Not Django's FILE_UPLOAD_TEMP_DIR, which must exist before the first upload makes it.
    """
    return Path(settings.MEDIA_ROOT, INCOMING)


class IncomingFile(TemporaryUploadedFile):
    """Django's own, but for its folder, and without a path."""

    def __init__(
        self,
        name: str | None,
        content_type: str | None,
        size: int,
        charset: str | None,
        content_type_extra: Any = None,
    ) -> None:
        incoming().mkdir(mode=0o700, parents=True, exist_ok=True)
        file = TemporaryFile(dir=incoming())  # noqa: SIM115  (the request closes it)
        UploadedFile.__init__(self, file, name, content_type, size, charset, content_type_extra)


class IncomingFileHandler(TemporaryFileUploadHandler):
    """Django's own, but for the kind of file."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        FileUploadHandler.new_file(self, *args, **kwargs)
        self.file = IncomingFile(self.file_name, self.content_type, 0, self.charset, self.content_type_extra)
