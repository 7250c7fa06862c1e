"""Django's log of what was changed in the admin."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest


class Unnamed:
    """For a ``ModelAdmin`` of personal rows: of what they are about, entries keep the number and names of fields.

    Django's keep ``str(row)``: addresses, browsers, names of files and tokens. They would outlive the row, and nobody
    could tell any more whose it was when the account is deleted.
    """

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        return _write(request, obj, ADDITION, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        return _write(request, obj, CHANGE, message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Model]) -> list[LogEntry]:
        return [_write(request, obj, DELETION, "") for obj in queryset]

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Names of fields. What Django would add of inline rows is ``str(row)`` again."""
        del formsets
        return super().construct_change_message(request, form, None, add)  # type: ignore[misc]


def _write(request: HttpRequest, obj: Model, flag: int, message: Any) -> LogEntry:
    assert request.user.is_authenticated
    number = str(obj.pk)
    return LogEntry.objects.create(
        user_id=request.user.pk,
        content_type=ContentType.objects.get_for_model(obj, for_concrete_model=False),
        object_id=number,
        object_repr=number,
        action_flag=flag,
        change_message=message if isinstance(message, str) else json.dumps(message),
    )
