"""``manage.py requeue_unfinished``: send lost work again, by hand."""

from __future__ import annotations

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from detection import services


class Command(BaseCommand):
    help = "Send analyses again whose worker died or whose message was lost. Workers do this by themselves."

    def handle(self, **options: object) -> None:
        if settings.EMBEDDED:
            # The in-memory broker of this process would take the messages along when it ends.
            raise CommandError("Without REDIS_URL the server does this itself when it starts.")
        count = services.requeue_unfinished()
        self.stdout.write(f"{count} analyses were sent again.")
