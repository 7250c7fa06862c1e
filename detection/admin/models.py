"""Models in the admin: which one judges, which one is on trial, and what new runs with another one changed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from detection import registered_models, serving
from detection.admin.readonly import ReadOnly, staff
from detection.engine.errors import ModelError
from detection.models import RegisteredModel, Rerun
from detection.problems import Refused
from detection.reports import figures, words

State = RegisteredModel.State
# What each act is called, what it does, in which states it is offered.
ACTS: dict[str, tuple[Promise, Promise, tuple[str, ...]]] = {
    "activate": (
        gettext_lazy("Activate"),
        gettext_lazy("New analyses are judged by this model from now on. Results that are there stay as they are."),
        (State.AVAILABLE, State.CHALLENGER, State.RETIRED),
    ),
    "challenge": (
        gettext_lazy("Put on trial"),
        gettext_lazy(
            "Beside the active model, this one silently judges a share of new analyses. No page shows users what it "
            "says; a copy of all that is stored about them has it, too. Each of these analyses keeps its worker busy "
            "for longer. The figures compare the two."
        ),
        (State.AVAILABLE, State.CHALLENGER, State.RETIRED),
    ),
    "retire": (
        gettext_lazy("Retire"),
        gettext_lazy("The model is out of use. Its files and what it found stay; it can be activated again."),
        (State.AVAILABLE, State.CHALLENGER),
    ),
}


class ActivateForm(forms.Form):
    """Asks why, if nobody has compared the model."""

    reason = forms.CharField(
        label=gettext_lazy("Why it is used without a comparison"),
        help_text=gettext_lazy("Kept with the model. The log notes that it was activated without one."),
        max_length=2000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class ChallengeForm(forms.Form):
    share = forms.IntegerField(
        label=gettext_lazy("Share of new analyses, in percent"), min_value=1, max_value=100, initial=10
    )


@admin.register(RegisteredModel)
class RegisteredModelAdmin(ReadOnly, admin.ModelAdmin):
    """What there is to judge with. Rows come into being by themselves for what lies in the folders."""

    list_display = ("name", "version", "standing", "acts", "share", "compared", "short_hash")
    list_display_links = ("name",)
    search_fields = ("name", "version", "sha256")
    fields = (
        "name",
        "version",
        "sha256",
        "standing",
        "state_since",
        "share",
        "about",
        "compared",
        "forced_reason",
        "registered_at",
        "acts",
    )
    readonly_fields = fields

    def has_delete_permission(self, request: HttpRequest, obj: RegisteredModel | None = None) -> bool:
        """What a model found names it, so its row stays."""
        del request, obj
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("detection.change_registeredmodel")

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        shown = list(super().get_list_display(request))
        return shown if self.has_act_permission(request) else [name for name in shown if name != "acts"]

    def get_fields(self, request: HttpRequest, obj: RegisteredModel | None = None) -> list[Any]:
        shown = list(super().get_fields(request, obj))
        return shown if self.has_act_permission(request) else [name for name in shown if name != "acts"]

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path(f"<int:pk>/{act}/", wrap(self.act_view), {"act": act}, name=f"detection_registeredmodel_{act}")
            for act in ACTS
        ]
        return own + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            registered_models.sync()
        except ModelError as error:
            self.message_user(request, _("Not every model can be read: %(why)s") % {"why": error}, messages.ERROR)
        self._say_what_judges(request)
        return super().changelist_view(request, {**(extra_context or {}), "title": _("Models")})

    def _say_what_judges(self, request: HttpRequest) -> None:
        try:
            served = serving.served().label
        except ModelError as error:
            why = _("No model can judge at the moment: %(why)s") % {"why": error}
            self.message_user(request, why, messages.ERROR)
            return
        if serving.pinned():
            text = _(
                "VERIFRAME_MODEL has %(model)s judge, whatever is active here. What is activated counts once that "
                "setting is empty."
            )
            self.message_user(request, text % {"model": served}, messages.WARNING)
        elif not RegisteredModel.objects.filter(state=State.ACTIVE).exists():
            text = _("Nothing was activated, so the default model judges: %(model)s.")
            self.message_user(request, text % {"model": served}, messages.INFO)

    # -- What the list shows -------------------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def standing(self, row: RegisteredModel) -> str:
        state = {"state": row.get_state_display()}
        if not _has_files(row):
            return _("%(state)s, but its files are missing or changed") % state
        if row.state != State.ACTIVE and registered_models.judges(row):  # the default, or what the settings pin
            return _("%(state)s, judges now") % state
        return row.get_state_display()

    @admin.display(description=gettext_lazy("compared"))
    def compared(self, row: RegisteredModel) -> str:
        if row.gate is None:
            return _("not yet")
        return _("%(verdict)s: AUC %(own)s for %(other)s, false alarms %(alarms)s for %(others)s (%(model)s)") % {
            "verdict": _("passed") if row.passed_gate else _("worse"),
            "own": figures.decimals(row.gate["candidate"]["mean_auc"], 3),
            "other": figures.decimals(row.gate["champion"]["mean_auc"], 3),
            "alarms": row.gate["candidate"]["false_alarms"],
            "others": row.gate["champion"]["false_alarms"],
            "model": row.gate["champion"]["model"],
        }

    @admin.display(description="SHA-256")
    def short_hash(self, row: RegisteredModel) -> str:
        return row.sha256[:12]

    @admin.display(description=gettext_lazy("what is known"))
    def about(self, row: RegisteredModel) -> str:
        """Out of its folder, where it comes from included; the words are those of whoever imported it."""
        try:
            spec = serving.spec_of(row)
        except ModelError as error:
            return str(error)
        known = {
            _("Network"): f"{spec.architecture}, {spec.input_size} × {spec.input_size}",
            _("Licence"): spec.licence,
            _("Trained on"): "; ".join(spec.data) or "–",
            **{str(name): value for name, value in spec.provenance.items()},
        }
        return format_html_join("", "<div>{}: {}</div>", known.items())

    @admin.display(description=gettext_lazy("acts"))
    def acts(self, row: RegisteredModel) -> str:
        offered = [
            (reverse(f"admin:detection_registeredmodel_{act}", args=[row.pk]), name)
            for act, (name, _does, states) in ACTS.items()
            if row.state in states
        ]
        return format_html_join(" · ", '<a href="{}">{}</a>', offered) or "–"

    # -- Acts, each after a page that asks -----------------------------------------------------------------------------

    def act_view(self, request: HttpRequest, pk: int, act: str) -> HttpResponse:
        if not self.has_act_permission(request):
            raise PermissionDenied
        row = get_object_or_404(RegisteredModel, pk=pk)
        form = self._form(request, row, act)
        if request.method == "POST" and (form is None or form.is_valid()):
            try:
                self._do(request, row, act, {} if form is None else form.cleaned_data)
            except Refused as refused:
                self.message_user(request, refused.detail, messages.WARNING)
            else:
                done = _("%(state)s: %(model)s.")
                row.refresh_from_db()
                said = {"model": str(row), "state": self.standing(row)}
                self.message_user(request, done % said, messages.SUCCESS)
                return redirect("admin:detection_registeredmodel_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": f"{ACTS[act][0]}: {row}",
            "opts": self.opts,
            "row": row,
            "does": ACTS[act][1],
            "button": ACTS[act][0],
            "compared": self.compared(row),
            "needs_tensorflow": act != "retire" and _needs_tensorflow(row),
            "form": form,
        }
        return TemplateResponse(request, "admin/detection/registeredmodel/confirm.html", context)

    def _form(self, request: HttpRequest, row: RegisteredModel, act: str) -> forms.Form | None:
        data = request.POST if request.method == "POST" else None
        if act == "challenge":
            return ChallengeForm(data, initial={"share": row.share or 10})
        return ActivateForm(data) if act == "activate" and registered_models.needs_reason(row) else None

    def _do(self, request: HttpRequest, row: RegisteredModel, act: str, given: dict[str, Any]) -> None:
        """Raises Refused."""
        by = staff(request)
        if act == "activate":
            registered_models.activate(row, by=by, reason=given.get("reason", ""))
        elif act == "challenge":
            registered_models.put_on_trial(row, by=by, share=given["share"])
        else:
            registered_models.retire(row, by=by)


def _has_files(row: RegisteredModel) -> bool:
    """A look, without hashing them: whoever loads it does that."""
    try:
        spec = serving.spec_of(row)
    except ModelError:
        return False
    return spec.path.exists() and (spec.tensorflow is None or spec.tensorflow.path.exists())


def _needs_tensorflow(row: RegisteredModel) -> bool:
    try:
        return serving.spec_of(row).litert is None
    except ModelError:
        return False


class ChangedFilter(SimpleListFilter):
    """What came of a new run."""

    title = gettext_lazy("outcome")
    parameter_name = "outcome"
    QUERIES = {
        "changed": ~Q(new_verdict="") & ~Q(new_verdict=F("verdict")),
        "same": Q(new_verdict=F("verdict")),
        "none": Q(new_verdict=""),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        del request, model_admin
        return [("changed", _("Another verdict")), ("same", _("The same verdict")), ("none", _("No result yet"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Rerun]) -> QuerySet[Rerun]:
        del request
        wanted = self.value()
        return queryset.filter(self.QUERIES[wanted]) if wanted in self.QUERIES else queryset


@admin.register(Rerun)
class RerunAdmin(ReadOnly, admin.ModelAdmin):
    """Analyses that staff had run again: what was found before, and what was found after that."""

    list_display = ("file", "at", "before", "after", "changed")
    list_display_links = None
    list_filter = (ChangedFilter, "at")
    search_fields = ("analysis__id", "analysis__upload__name")
    date_hierarchy = "at"
    list_select_related = ("analysis__upload",)
    list_per_page = 50

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "title": _("What new runs changed")})

    def has_delete_permission(self, request: HttpRequest, obj: Rerun | None = None) -> bool:
        del request, obj
        return False

    @admin.display(description=gettext_lazy("file"), ordering="analysis__upload__name")
    def file(self, row: Rerun) -> str:
        url = reverse("admin:detection_analysis_change", args=[row.analysis_id])
        return format_html('<a href="{}">{}</a>', url, row.analysis.upload.name)

    @admin.display(description=gettext_lazy("before"), ordering="verdict")
    def before(self, row: Rerun) -> str:
        return _said(row.verdict, row.score, f"{row.model_name} {row.model_version}")

    @admin.display(description=gettext_lazy("after"), ordering="new_verdict")
    def after(self, row: Rerun) -> str:
        if not row.new_verdict:
            return row.analysis.get_status_display()
        return _said(row.new_verdict, row.new_score, f"{row.new_model_name} {row.new_model_version}")

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, row: Rerun) -> str:
        if not row.new_verdict:
            return "–"
        return _("no") if row.new_verdict == row.verdict else _("yes")


def _said(verdict: str, score: float | None, model: str) -> str:
    shown = "" if score is None else f" ({figures.score(score)})"
    return f"{words.short_word(verdict)}{shown} · {model}"
