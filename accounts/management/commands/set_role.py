"""``manage.py set_role``: who reviews, who administers."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from accounts.roles import LastAdministrator, Role, set_role


class Command(BaseCommand):
    help = "Make somebody who has an account a user, a reviewer or an administrator."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", help="address that the account signs in with")
        parser.add_argument("role", choices=Role.values)

    def handle(self, *, email: str, role: str, **options: object) -> None:
        try:
            user = User.objects.get_by_natural_key(email)
        except User.DoesNotExist:
            raise CommandError(f"Nobody signs in as {email}.") from None
        try:
            set_role(user, Role(role))
        except LastAdministrator:
            raise CommandError(f"{email} is the only administrator. Make somebody else one first.") from None
        self.stdout.write(f"{email} is now: {role}")
