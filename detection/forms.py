"""Forms."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from detection import retention, validators
from detection.engine.types import Mode
from detection.models import Dispute, WebhookEvent
from detection.problems import STATUS_BY_CODE, Refused
from detection.reports.lifetimes import after_result
from detection.reports.words import KIND_WORDS, MODE_WORDS, SHORT_VERDICTS, STATUS_WORDS
from detection.selectors import Wanted
from detection.validators import AcceptedUpload
from detection.webhooks import endpoints

MOST_CHOSEN = 100  # analyses of one bulk request; a page of the history has fewer


class FilesInput(forms.ClearableFileInput):
    """A file input that takes several."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files, each held to the upload rules. Cleans to a list of ``AcceptedUpload``."""

    widget = FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[AcceptedUpload]:
        del initial
        files = data if isinstance(data, (list, tuple)) else [data] if data else []
        if not files:
            raise ValidationError(_("Choose a file first."), code="missing_file")
        accepted, errors = [], []
        for file in files:
            try:
                accepted.append(validators.accept(file))
            except Refused as refused:
                errors.append(ValidationError(refused.detail, code=refused.code))
        if sum(file.size or 0 for file in files) > settings.MAX_UPLOAD_BYTES and not errors:
            errors.append(ValidationError(_("These files together are too large."), code="file_too_large"))
        if errors:
            # None is taken if one is refused: so nobody has to find out afterwards which ones were.
            raise ValidationError(errors)
        return accepted


class WebhookAddressField(forms.CharField):
    """An address that webhooks may be sent to."""

    widget = forms.URLInput

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return endpoints.checked_url(text) if text else ""
        except Refused as refused:
            raise ValidationError(refused.detail, code=refused.code) from None


class KeepField(forms.IntegerField):
    """For how many seconds after its result a file is kept. Pages offer some, programs may ask for any."""

    def __init__(self, **options: Any) -> None:
        super().__init__(label=_("Keep the file"), min_value=0, widget=forms.Select, **options)

    def offer(self, now: int) -> None:
        """Offer what the site allows. ``now``: what holds already."""
        self.initial = now
        self.widget.choices = [(seconds, after_result(seconds)) for seconds in retention.offered(now)]

    def clean(self, value: Any) -> int | None:
        seconds = super().clean(value)
        try:
            return None if seconds is None else retention.checked(seconds)
        except Refused as refused:
            raise ValidationError(refused.detail, code=refused.code) from None


class ConsentField(forms.BooleanField):
    """Whether a file may be used to improve the detector. Never ticked beforehand."""

    def __init__(self) -> None:
        super().__init__(required=False, label=_("My file may be used to improve the detector."))


class ModeField(forms.TypedChoiceField):
    """How closely a video is looked at. Cleans to a ``Mode``, or to ``empty_value`` where nothing is said."""

    widget = forms.RadioSelect

    def __init__(self, *, empty_value: Mode | None) -> None:
        super().__init__(
            label=_("How closely to look at videos"),
            choices=list(MODE_WORDS.items()),
            coerce=Mode,
            empty_value=empty_value,
            initial=Mode.STANDARD,
            required=False,
        )


class RetryForm(forms.Form):
    """How a new run shall differ from the one before."""

    mode = ModeField(empty_value=None)


class DisputeForm(forms.Form):
    """What is wrong with a result."""

    category = forms.ChoiceField(label=_("What is wrong?"), choices=Dispute.Category, widget=forms.RadioSelect)
    reason = forms.CharField(
        label=_("How do you know?"),
        help_text=_("What a reviewer should know: where the file comes from, what to look at. You may leave it empty."),
        required=False,
        max_length=Dispute.LONGEST,
        widget=forms.Textarea(attrs={"rows": 4}),
    )


class KeepForm(forms.Form):
    """How long a file is kept, or files are in general."""

    retain_seconds = KeepField()

    def __init__(self, *args: Any, now: int, **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields["retain_seconds"]
        assert isinstance(field, KeepField)
        field.offer(now)


class UploadForm(forms.Form):
    """What a user sends to be checked."""

    file = FilesField(label=_("File"))
    mode = ModeField(empty_value=Mode.STANDARD)
    consent = ConsentField()
    retain_seconds = KeepField(required=False)

    def first_error(self) -> tuple[str, str]:
        """Code and message of the first refusal."""
        name, errors = next(iter(self.errors.as_data().items()))
        message = errors[0].messages[0]
        if errors[0].code in STATUS_BY_CODE:
            return str(errors[0].code), message
        return "invalid_request", f"{name}: {message}"


class SubmitForm(UploadForm):
    """What a program sends to be checked."""

    external_id = forms.CharField(required=False, max_length=200)
    callback_url = WebhookAddressField(required=False)
    force = forms.BooleanField(required=False)


class DayField(forms.DateField):
    """A day that may be left out. Written as browsers and programs write it, whatever the reader's language."""

    def __init__(self, **options: Any) -> None:
        picker = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
        super().__init__(required=False, input_formats=["%Y-%m-%d"], widget=picker, **options)


class HistoryForm(forms.Form):
    """What of the history to show."""

    search = forms.CharField(label=_("Name"), required=False, max_length=200, widget=forms.SearchInput)
    verdict = forms.ChoiceField(
        label=_("Verdict"), required=False, choices=[("", _("Any verdict")), *SHORT_VERDICTS.items()]
    )
    status = forms.ChoiceField(
        label=_("Status"), required=False, choices=[("", _("Any status")), *STATUS_WORDS.items()]
    )
    kind = forms.ChoiceField(label=_("Kind"), required=False, choices=[("", _("Any kind")), *KIND_WORDS.items()])
    since = DayField(label=_("Sent from"))
    until = DayField(label=_("Sent until"))
    sort = forms.ChoiceField(
        label=_("Order"),
        required=False,
        choices=[
            ("newest", _("Newest first")),
            ("oldest", _("Oldest first")),
            ("name", _("By name")),
            ("highest", _("Highest score first")),
            ("lowest", _("Lowest score first")),
        ],
    )

    def wanted(self) -> Wanted:
        """What was asked for; a field that cannot be understood asks for nothing."""
        self.full_clean()
        given = {name: value for name, value in self.cleaned_data.items() if value}
        return Wanted(**given)

    @property
    def is_narrowed(self) -> bool:
        """Whether something is left out; another order leaves nothing out."""
        return any(value for name, value in self.cleaned_data.items() if name != "sort")

    def query(self) -> str:
        """What was asked for and understood, for an address."""
        return urlencode({name: value for name, value in self.cleaned_data.items() if value})


class ApiHistoryForm(HistoryForm):
    """The same for the API's list."""

    external_id = forms.CharField(required=False, max_length=200)
    sort = None  # type: ignore[assignment]  # cursors need one order: newest first


class ChosenForm(forms.Form):
    """Analyses that were ticked in the history, and what shall be done with them."""

    analysis = forms.TypedMultipleChoiceField(coerce=uuid.UUID, required=False)
    action = forms.ChoiceField(choices=[("delete", ""), ("retry", "")])
    confirmed = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        # Any id is a choice here: which of them exist for the user is the selector's business.
        ids = data.getlist("analysis")[:MOST_CHOSEN]
        self.fields["analysis"].choices = [(value, value) for value in ids]  # type: ignore[attr-defined]


class EndpointForm(forms.Form):
    """A new webhook."""

    url = WebhookAddressField(
        label=_("Address"), help_text=_("Public, and better https. We send a POST request with JSON to it.")
    )
    events = forms.MultipleChoiceField(
        label=_("Tell it when an analysis"),
        choices=[
            (WebhookEvent.Type.COMPLETED, _("is finished")),
            (WebhookEvent.Type.FAILED, _("has failed")),
            (WebhookEvent.Type.CANCELLED, _("was cancelled")),
            (WebhookEvent.Type.REVIEWED, _("was judged by a reviewer")),
        ],
        initial=WebhookEvent.Type.values,
        widget=forms.CheckboxSelectMultiple,
    )
