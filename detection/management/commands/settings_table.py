"""``manage.py settings_table``: the settings as documentation."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand

from config import env


class Command(BaseCommand):
    help = "Print the table of settings for the README, or the content of .env.example."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--env-example", action="store_true", help="print .env.example instead")

    def handle(self, *, env_example: bool, **options: object) -> None:
        render = env.env_example if env_example else env.markdown_table
        self.stdout.write(render(settings.ENV_VARIABLES).rstrip("\n"))
