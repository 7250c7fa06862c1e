"""What goes away: what a user chose, what was deleted and why, and who looks after it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.utils.translation import gettext_lazy as _


class DeletionReason(models.TextChoices):
    """Why something was deleted."""

    EXPIRED = "expired", _("Its time was over.")
    USER = "user", _("Its owner asked for it.")
    REVIEWER = "reviewer", _("A reviewer ended its time.")
    STAFF = "staff", _("The staff of this site deleted it.")
    ACCOUNT = "account", _("The account was deleted.")
    MISSING = "missing", _("It was found missing on the server.")


class RetentionChoice(models.Model):
    """How long a user wants files to be kept after the result, unless an upload says otherwise."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="retention_choice"
    )
    keep_seconds = models.PositiveIntegerField()  # never more than the site allows when it is used

    def __str__(self) -> str:
        return f"{self.keep_seconds} s"


class DeletionReceiptQuerySet(models.QuerySet["DeletionReceipt"]):
    """Reads of receipts."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> DeletionReceiptQuerySet:
        return self.filter(user_id=user.pk) if user.is_authenticated else self.none()


class DeletionReceipt(models.Model):
    """That something was deleted: which bytes, when, why. Not the file's name: that goes with the rest.

    Once the account is gone it belongs to nobody: what is left is a hash, a size and a time.
    """

    class What(models.TextChoices):
        FILE = "file", _("File")
        PICTURES = "pictures", _("Pictures of faces")
        RESULT = "result", _("Result")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="deletion_receipts"
    )
    # Plain ids: what they name may be gone.
    upload_id = models.UUIDField(db_index=True)
    analysis_id = models.UUIDField(null=True)  # of pictures and results
    what = models.CharField(max_length=10, choices=What)
    reason = models.CharField(max_length=10, choices=DeletionReason)
    sha256 = models.CharField(max_length=64)  # of the file that was sent
    size = models.PositiveBigIntegerField(default=0)  # bytes of the file or of the pictures; a result has none
    deleted_at = models.DateTimeField(db_index=True)

    objects = DeletionReceiptQuerySet.as_manager()

    class Meta:
        ordering = ["-deleted_at"]
        verbose_name = _("deletion receipt")
        verbose_name_plural = _("deletion receipts")

    def __str__(self) -> str:
        return f"{self.what} {self.sha256[:12]} {self.deleted_at:%Y-%m-%d %H:%M}"


class Lease(models.Model):
    """A duty that one process at a time has, until it is taken over or runs out."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.UUIDField()
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} until {self.until:%H:%M:%S}"
