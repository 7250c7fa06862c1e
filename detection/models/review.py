"""What people say about what the model said: cases, reviews, disputes, and the log of who did what."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from detection.engine.types import Verdict
from detection.models.analysis import Analysis, choices

# What somebody who looked can say. "Some signs" is a machine's word: people see a manipulation or do not.
HUMAN_VERDICTS = (Verdict.MANIPULATED, Verdict.AUTHENTIC, Verdict.INCONCLUSIVE)


class Decision(models.TextChoices):
    """What reviewers' verdict is to the model's."""

    CONFIRMED = "confirmed", _("Confirmed")
    OVERTURNED = "overturned", _("Overturned")
    CANNOT_TELL = "cannot_tell", _("Cannot tell")


def decision(model: str, human: str) -> Decision:
    """``model`` and ``human`` are verdicts. Some signs are confirmed by a manipulation, not overturned."""
    if human == Verdict.INCONCLUSIVE:
        return Decision.CANNOT_TELL
    signs = {Verdict.SUSPICIOUS: Verdict.MANIPULATED}
    return Decision.CONFIRMED if signs.get(Verdict(model), model) == human else Decision.OVERTURNED


class QueuedAnalysis(Analysis):
    """An analysis as reviewers see it in the admin."""

    class Meta:
        proxy = True
        default_permissions = ()  # who may review, may see this: detection.review_analysis
        verbose_name = _("case to review")
        verbose_name_plural = _("cases to review")


class ReviewCase(models.Model):
    """What people make of one run of an analysis.

    Made when somebody first does something about the run: takes it, judges it, or says that it is wrong. A new run
    ends it (``is_current`` is False) and begins with none. ``decided_at`` is empty until enough reviewers agree, and
    again when a dispute asks for another look. What the model had said is kept here, because a new run overwrites it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="cases")
    is_current = models.BooleanField(default=True)
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    verdict = models.CharField(max_length=12, choices=choices(Verdict), blank=True)
    decided_at = models.DateTimeField(null=True)

    model_verdict = models.CharField(max_length=12, choices=choices(Verdict), blank=True)
    model_score = models.FloatField(null=True)
    model_name = models.CharField(max_length=100, blank=True)
    model_version = models.CharField(max_length=50, blank=True)
    media_kind = models.CharField(max_length=10, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("review case")
        verbose_name_plural = _("review cases")
        constraints = [
            models.UniqueConstraint(
                fields=["analysis"], condition=models.Q(is_current=True), name="one_current_case_an_analysis"
            )
        ]

    def __str__(self) -> str:
        return f"case of {self.analysis_id}"

    @property
    def is_decided(self) -> bool:
        return self.decided_at is not None

    @property
    def open_dispute(self) -> Dispute | None:
        dispute = Dispute.objects.filter(case=self).first()
        return dispute if dispute is not None and dispute.is_open else None


class ReviewQuerySet(models.QuerySet["Review"]):
    """Reads of opinions."""

    def counting(self) -> ReviewQuerySet:
        """Those that a decision is made of: while a dispute is open, only what was said after it was first opened and
        after the decision that it objects to.

        Were that counted, the next one to agree with it would decide, and no dispute could succeed.
        """
        opened, decided = models.F("case__dispute__opened_at"), models.F("case__analysis__reviewed_at")
        before = models.Q(created_at__lt=opened) | models.Q(created_at__lte=decided)
        disputed = Review.objects.filter(before, case__dispute__status=Dispute.Status.OPEN)
        return self.exclude(pk__in=disputed.values("pk"))


class Review(models.Model):
    """One reviewer's opinion. ``reviewer`` is None once that account is gone; the opinion stays."""

    case = models.ForeignKey(ReviewCase, on_delete=models.CASCADE, related_name="reviews")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    verdict = models.CharField(max_length=12, choices=choices(Verdict))
    note = models.TextField(blank=True)  # for other reviewers; the user never sees it
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ReviewQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "pk"]
        constraints = [models.UniqueConstraint(fields=["case", "reviewer"], name="nobody_reviews_twice")]

    def __str__(self) -> str:
        return f"{self.verdict} on {self.case_id}"


class Dispute(models.Model):
    """A user says that a result is wrong. Open until the case is decided; then ``answer`` may say why."""

    class Category(models.TextChoices):
        GENUINE = "genuine", _("This is genuine")
        MANIPULATED = "manipulated", _("This is manipulated")
        WRONG_FACE = "wrong_face", _("The wrong person or part of the picture is flagged")
        OTHER = "other", _("Something else")

    class Status(models.TextChoices):
        OPEN = "open", _("Waiting for a reviewer")
        ANSWERED = "answered", _("Answered")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    LONGEST = 2000  # characters of a reason or an answer

    case = models.OneToOneField(ReviewCase, on_delete=models.CASCADE, related_name="dispute")
    category = models.CharField(max_length=12, choices=Category)
    reason = models.TextField(blank=True, max_length=LONGEST)
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN, db_index=True)
    answer = models.TextField(blank=True, max_length=LONGEST)
    opened_at = models.DateTimeField()  # at first: who takes it back and objects again does not change it
    closed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.category} ({self.status})"

    @property
    def is_open(self) -> bool:
        return self.status == self.Status.OPEN


class AppendOnly(models.QuerySet["AuditEntry"]):
    """Can be read and added to."""

    def update(self, **values: Any) -> int:  # noqa: ARG002
        raise TypeError("the audit log is append-only")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise TypeError("the audit log is append-only")


class AuditEntry(models.Model):
    """Somebody did something. Written once: this class, the admin and triggers in the database refuse the rest.

    It says what was done to what, not whose it was: users are named by their role alone, staff by a number that leads
    nowhere once the account is deleted, and texts that people wrote stay where they wrote them. So it can be kept
    when everything that it is about is gone.
    """

    class Action(models.TextChoices):
        READ = "read", _("read media")
        ASSIGN = "assign", _("assigned")
        REVIEW = "review", _("gave an opinion")
        DECIDE = "decide", _("decided")
        DISPUTE = "dispute", _("disputed")
        WITHDRAW = "withdraw", _("withdrew a dispute")
        SUPERSEDE = "supersede", _("ended by a new run")
        RERUN = "rerun", _("ran again")
        CANCEL = "cancel", _("cancelled")
        DELETE = "delete", _("deleted")
        EXTEND = "extend", _("extended retention")
        END = "end", _("ended retention")
        CONSENT = "consent", _("changed consent")
        EXPORT = "export", _("exported for training")
        ERASE = "erase", _("deleted an account")
        RESEND = "resend", _("sent a message again")
        DISMISS = "dismiss", _("dismissed a message")
        RIGHTS = "rights", _("changed rights")
        REGISTER = "register", _("registered a model")
        ACTIVATE = "activate", _("activated a model")
        CHALLENGE = "challenge", _("put a model on trial")
        RETIRE = "retire", _("retired a model")

    class Role(models.TextChoices):
        USER = "user", _("user")
        REVIEWER = "reviewer", _("reviewer")
        ADMINISTRATOR = "administrator", _("administrator")
        SYSTEM = "system", _("system")

    at = models.DateTimeField(db_index=True)
    # No constraint and nothing to do on deletion: either would have to change a row.
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="+"
    )
    role = models.CharField(max_length=15, choices=Role)
    action = models.CharField(max_length=12, choices=Action, db_index=True)
    object_type = models.CharField(max_length=20)
    object_id = models.CharField(max_length=40, db_index=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    objects = AppendOnly.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.role} {self.action} {self.object_id}"

    def save(self, *args: Any, **options: Any) -> None:
        if not self._state.adding:
            raise TypeError("the audit log is append-only")
        super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:  # noqa: ARG002
        raise TypeError("the audit log is append-only")
