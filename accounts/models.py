"""Who you are."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from knox.models import AbstractAuthToken


class UserManager(BaseUserManager["User"]):
    """Creates users by e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Create an ordinary user. Without a password the account cannot be signed in to."""
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Create an administrator; ``manage.py createsuperuser`` calls this."""
        rights = {"is_staff": True, "is_superuser": True}
        with transaction.atomic(using=self._db):
            user = self.create_user(email, password, **{**fields, **rights})
            log = import_string(settings.RIGHTS_LOG)
            log(kind="account", id_=user.pk, by=None, before={}, after={"staff": True, "superuser": True})
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        """Addresses are kept in lower case; people type them as they like."""
        return self.get(email=(username or "").strip().lower())


class User(AbstractUser):  # type: ignore[django-manager-missing]  # knox adds auth_token_set, unseen
    """Somebody who signs in with an e-mail address; there are no user names."""

    class Theme(models.TextChoices):
        AUTO = "auto", _("as the device")
        LIGHT = "light", _("light")
        DARK = "dark", _("dark")

    username = None  # type: ignore[assignment]
    email = models.EmailField(_("e-mail address"), unique=True)
    # One of settings.LANGUAGES; empty: as the browser asks.
    language = models.CharField(_("language"), max_length=10, blank=True)
    theme = models.CharField(_("theme"), max_length=5, choices=Theme, default=Theme.AUTO)
    notify_analyses = models.BooleanField(_("e-mail when an analysis ends"), default=False)
    notify_reviews = models.BooleanField(_("e-mail when a person has reviewed a result"), default=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("email"), name="unique_email", violation_error_message=_("This e-mail address is taken.")
            )
        ]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        self.email = self.email.strip().lower()


class ApiToken(AbstractAuthToken):
    """A key with which a program acts for its user: several for each user, told apart by name.

    Stored is only the key's hash (knox: SHA-512 of 256 random bits) and its first characters, by which people
    recognise it. ``public_id`` names it in addresses, where the hash has no business.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100)
    last_used = models.DateTimeField(null=True, blank=True)  # to the minute, see accounts.tokens

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"{self.name} ({self.token_key}…)"

    @property
    def has_expired(self) -> bool:
        return self.expiry is not None and self.expiry < timezone.now()
