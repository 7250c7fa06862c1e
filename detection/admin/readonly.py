"""What most rows of the admin are."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from accounts.admin_log import Unnamed
from accounts.models import User


def staff(request: HttpRequest) -> User:
    """Who acts; nobody else gets as far as an act of the admin."""
    assert request.user.is_authenticated
    return request.user


class ReadOnly(Unnamed):
    """Rows are made by uploads and workers; editing them by hand would make the record untrue."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False
