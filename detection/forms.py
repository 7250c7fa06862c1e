"""Forms."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from detection import validators
from detection.problems import Refused
from detection.validators import AcceptedUpload


class FilesInput(forms.ClearableFileInput):
    """A file input that takes several."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files, each held to the upload rules. Cleans to a list of ``AcceptedUpload``."""

    widget = FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[AcceptedUpload]:
        del initial
        files = data if isinstance(data, (list, tuple)) else [data] if data else []
        if not files:
            raise ValidationError("Choose a file first.", code="missing_file")
        accepted, errors = [], []
        for file in files:
            try:
                accepted.append(validators.accept(file))
            except Refused as refused:
                errors.append(ValidationError(refused.detail, code=refused.code))
        if sum(file.size or 0 for file in files) > settings.MAX_UPLOAD_BYTES and not errors:
            errors.append(ValidationError("These files together are too large.", code="file_too_large"))
        if errors:
            # None is taken if one is refused: so nobody has to find out afterwards which ones were.
            raise ValidationError(errors)
        return accepted


class UploadForm(forms.Form):
    """What a user sends to be checked."""

    file = FilesField(label="File")

    def first_error(self) -> tuple[str, str]:
        """Code and message of the first refusal."""
        error = self.errors.as_data()["file"][0]
        return str(error.code), str(error.message)
