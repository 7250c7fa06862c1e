"""``manage.py models``: what there is to judge with, and what each of it does."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError

from detection import registered_models, serving
from detection.engine.errors import ModelError


class Command(BaseCommand):
    help = "List the models that are shipped or imported; * is the one that judges."

    def handle(self, **options: object) -> None:
        try:
            rows = registered_models.sync()
            served = serving.served()
        except ModelError as error:
            raise CommandError(error.message) from error
        for row in sorted(rows, key=str):
            mark = "*" if (row.name, row.version) == (served.name, served.version) else " "
            share = f" {row.share} %" if row.share else ""
            self.stdout.write(f"{mark} {row!s:30} {row.get_state_display() + share:16} {row.sha256[:12]}")
        if serving.pinned():
            self.stdout.write(f"VERIFRAME_MODEL={serving.pinned()} goes before what is active.")
