"""Lists in pages."""

from __future__ import annotations

from datetime import UTC, datetime

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class NewestFirst(CursorPagination):
    """Pages that stay put while new analyses arrive."""

    ordering = "-created_at"
    page_size = 20

    def decode_cursor(self, request: Request) -> Cursor | None:
        """The place to go on from. Raises NotFound; the original lets a position that is no time become a 500."""
        cursor: Cursor | None = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                datetime.fromisoformat(cursor.position).astimezone(UTC)
            except (ValueError, OverflowError):
                raise NotFound(self.invalid_cursor_message) from None
        return cursor
