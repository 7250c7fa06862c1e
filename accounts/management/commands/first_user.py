"""``manage.py first_user``: somebody must be able to sign in after the first start."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser

from allauth.account.models import EmailAddress
from django.core.management.base import BaseCommand
from django.db import transaction

from accounts.models import User


class Command(BaseCommand):
    help = "Create the first administrator, if there is no user at all, and print the password once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", default="admin@localhost", help="address to sign in with")

    def handle(self, *, email: str, **options: object) -> None:
        with transaction.atomic():
            if User.objects.exists():
                return  # said nothing on purpose: `make run` calls this at every start
            password = secrets.token_urlsafe(12)
            user = User.objects.create_superuser(email, password)
            # Whoever may run this vouches for the address: there may be no e-mail yet to confirm it by.
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        self.stdout.write(
            f"The first administrator was created. This is shown only once:\n"
            f"  e-mail    {email}\n  password  {password}"
        )
