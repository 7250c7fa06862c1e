"""``manage.py clean_media``: what the workers do every now and then, by hand."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict

from django.core.management.base import BaseCommand, CommandError

from detection import cleanup


class Command(BaseCommand):
    help = "Delete what has served its time, and repair what disagrees between rows and disk, as workers do anyway."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count only, change nothing")

    def handle(self, *, dry_run: bool, **options: object) -> None:
        expired = cleanup.expire(dry_run=dry_run)
        try:
            tidied = cleanup.tidy(dry_run=dry_run)
        except OSError as error:
            raise CommandError(str(error)) from None
        self.stdout.write("Would be deleted or repaired:" if dry_run else "Deleted or repaired:")
        for name, number in {**asdict(expired), **asdict(tidied)}.items():
            self.stdout.write(f"{number:8} {name.replace('_', ' ')}")
