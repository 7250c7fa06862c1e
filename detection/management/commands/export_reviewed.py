"""``manage.py export_reviewed OUT``: labelled faces for the training, of files whose users allow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection.review.export import export
from detection.training.prepare import report


class Command(BaseCommand):
    help = "Write manifest and face crops of what reviewers decided and users allow, as detection.training reads them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("output", type=Path, help="a new or empty folder")

    def handle(self, *args: Any, output: Path, **options: Any) -> None:
        try:
            done = export(output)
        except FileExistsError as error:
            raise CommandError(
                f"{error}: take a new folder, so that nothing stays that is not allowed any more"
            ) from None
        report(done.summary, self.stdout.write)
        for reason, number in sorted(done.left_out.items()):
            self.stdout.write(f"{number:7d}  reviewed analyses left out: {reason}")
