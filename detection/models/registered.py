"""What people decided about models: which one judges, which one is on trial, and what was seen of it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from detection.engine.types import Verdict
from detection.models.analysis import Analysis, choices


class RegisteredModel(models.Model):
    """A model that this site may judge with. What it is lies in its folder; here is what people decided about it.

    Without an active row the registry's default model judges. So a site that never chose, or went back to the default,
    gets the model that the next version ships, and one that chose another keeps its own.
    """

    class State(models.TextChoices):
        AVAILABLE = "available", _("Available")
        ACTIVE = "active", _("Active")
        CHALLENGER = "challenger", _("Challenger")
        RETIRED = "retired", _("Retired")

    name = models.CharField(_("name"), max_length=100)
    version = models.CharField(_("version"), max_length=50)
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.AVAILABLE)
    state_since = models.DateTimeField(_("state since"), null=True)
    share = models.PositiveSmallIntegerField(_("share in percent"), null=True)  # of new analyses, of a challenger
    # What ``manage.py promote_model`` measured, and whether that was good enough; see detection.promotion.
    gate = models.JSONField(_("figures of the comparison"), null=True)
    passed_gate = models.BooleanField(_("passed the comparison"), default=False)
    forced_reason = models.TextField(_("why it was activated all the same"), blank=True)
    registered_at = models.DateTimeField(_("registered"), auto_now_add=True)

    class Meta:
        ordering = ["name", "-registered_at", "-pk"]
        verbose_name = _("registered model")
        verbose_name_plural = _("registered models")
        constraints = [
            models.UniqueConstraint(fields=["name", "version"], name="unique_model"),
            models.UniqueConstraint(fields=["state"], condition=models.Q(state="active"), name="one_active_model"),
            models.UniqueConstraint(fields=["state"], condition=models.Q(state="challenger"), name="one_challenger"),
            models.CheckConstraint(
                # Said apart that there is one: of nothing, a database does not know whether it lies in a range.
                condition=~models.Q(state="challenger") | models.Q(share__isnull=False, share__range=(1, 100)),
                name="challenger_has_a_share",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class ChallengerScore(models.Model):
    """What the challenger said about one run, beside what the active model had said. No page shows it to users."""

    analysis = models.ForeignKey(
        Analysis, on_delete=models.CASCADE, related_name="challenger_scores", verbose_name=_("analysis")
    )
    challenger = models.ForeignKey(
        RegisteredModel, on_delete=models.PROTECT, related_name="scores", verbose_name=_("challenger")
    )
    # Copied, because a new run overwrites the analysis.
    model_name = models.CharField(_("model"), max_length=100)
    model_version = models.CharField(_("model version"), max_length=50)
    model_verdict = models.CharField(_("verdict of the model"), max_length=12, choices=choices(Verdict))
    model_score = models.FloatField(_("score of the model"), null=True)
    model_seconds = models.FloatField(_("seconds of the model"), null=True)

    verdict = models.CharField(_("verdict"), max_length=12, choices=choices(Verdict), blank=True)  # empty: see error
    score = models.FloatField(_("score"), null=True)
    seconds = models.FloatField(_("seconds"), null=True)  # that this took besides the analysis
    error = models.CharField(_("error"), max_length=100, blank=True)  # the class's name; the log has the rest
    at = models.DateTimeField(_("judged"), db_index=True)

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name = _("score of a challenger")
        verbose_name_plural = _("scores of challengers")
        constraints = [
            models.UniqueConstraint(
                fields=["analysis", "challenger", "model_name", "model_version"], name="one_score_a_pair_of_models"
            )
        ]

    def __str__(self) -> str:
        return f"{self.challenger} on {self.analysis_id}"


class Rerun(models.Model):
    """Staff had an analysis run again: what had been found before, and what was found after that."""

    analysis = models.ForeignKey(Analysis, on_delete=models.CASCADE, related_name="reruns", verbose_name=_("analysis"))
    at = models.DateTimeField(_("asked for"), auto_now_add=True, db_index=True)
    model_name = models.CharField(_("model before"), max_length=100)
    model_version = models.CharField(_("its version"), max_length=50)
    model_sha256 = models.CharField(_("its SHA-256"), max_length=64)
    verdict = models.CharField(_("verdict before"), max_length=12, choices=choices(Verdict))
    score = models.FloatField(_("score before"), null=True)
    threshold = models.FloatField(_("threshold before"), null=True)
    # Copied like the rest, because the next new run overwrites the analysis. Empty until there is a result.
    new_model_name = models.CharField(_("model after"), max_length=100, blank=True)
    new_model_version = models.CharField(_("version after"), max_length=50, blank=True)
    new_verdict = models.CharField(_("verdict after"), max_length=12, choices=choices(Verdict), blank=True)
    new_score = models.FloatField(_("score after"), null=True)

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name = _("new run")
        verbose_name_plural = _("new runs")

    def __str__(self) -> str:
        return f"{self.analysis_id} {self.at:%Y-%m-%d %H:%M}"
