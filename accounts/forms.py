"""Forms."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts.models import User


class TokenForm(forms.Form):
    """What a new token is called and how long it lasts."""

    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("What it is for, so that you know it again."))
    days = forms.TypedChoiceField(
        label=_("Valid for"),
        coerce=int,
        initial=90,
        choices=[
            (7, _("7 days")),
            (30, _("30 days")),
            (90, _("90 days")),
            (365, _("a year")),
            (0, _("until it is revoked")),
        ],
    )

    @property
    def lifetime(self) -> timedelta | None:
        days = self.cleaned_data["days"]
        return timedelta(days=days) if days else None


class PreferencesForm(forms.ModelForm):
    """How pages look and what is told by e-mail."""

    language = forms.ChoiceField(
        label=_("Language"), required=False, choices=[("", _("as the browser asks")), *settings.LANGUAGES]
    )

    class Meta:
        model = User
        fields = ("language", "theme", "notify_reviews", "notify_analyses")
        labels: ClassVar = {
            "theme": _("Colours"),
            "notify_reviews": _("E-mail me when a person has reviewed one of my results"),
            "notify_analyses": _("E-mail me when one of my analyses has ended"),
        }
