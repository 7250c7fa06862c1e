"""What the queue gave up: messages that nobody could do, for people to look at."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class DeadLetter(models.Model):
    """A message that failed as often as it may, or that took its worker along each time.

    Nothing personal: ids, the class of an error and a place in the program, never an error's own words. One row for
    what is given up again and again while it waits to be looked at.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENT = "sent", _("Sent again")
        DISMISSED = "dismissed", _("Dismissed")

    actor = models.CharField(_("task"), max_length=100)
    message_id = models.CharField(_("message"), max_length=50, blank=True)  # Dramatiq's, of the last one
    args = models.JSONField(_("about"), default=list)  # ids
    analysis = models.ForeignKey(
        "detection.Analysis",
        on_delete=models.CASCADE,
        null=True,
        related_name="dead_letters",
        verbose_name=_("analysis"),
    )
    tries = models.PositiveIntegerField(_("tries"))  # of the last message
    error = models.CharField(_("error"), max_length=100)  # the class's name
    place = models.CharField(_("place"), max_length=200, blank=True)  # file:line function
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    given_up = models.PositiveIntegerField(_("times given up"), default=1)
    at = models.DateTimeField(_("last given up"), db_index=True)

    class Meta:
        ordering = ["-at"]
        verbose_name = _("message given up")
        verbose_name_plural = _("messages given up")

    def __str__(self) -> str:
        return f"{self.actor} {' '.join(map(str, self.args))}"
