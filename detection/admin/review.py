"""The review queue: what people should look at, the page on which they judge, figures about it, and the log."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import User
from detection import reports, retention
from detection.admin.acts import for_each, run_again
from detection.admin.readonly import ReadOnly
from detection.engine.types import Verdict
from detection.models import HUMAN_VERDICTS, Analysis, AuditEntry, Dispute, QueuedAnalysis, decision, may_review
from detection.problems import Refused
from detection.reports import card, figures, words
from detection.reports.page import page_payload, quality_notes
from detection.review import audit, queue, statistics, trials
from detection.review import services as review

KEYS = {Verdict.MANIPULATED: "m", Verdict.AUTHENTIC: "g", Verdict.INCONCLUSIVE: "t"}


class Filter(SimpleListFilter):
    """One that knows its choices by word; ``QUERIES`` has what each asks for."""

    QUERIES: dict[str, Q]
    WORDS: dict[str, Any]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        del request, model_admin
        return list(self.WORDS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        del request
        wanted = self.value()
        return queryset.filter(self.QUERIES[wanted]) if wanted in self.QUERIES else queryset


class StateFilter(Filter):
    """Waiting, unless something else is asked for."""

    title = gettext_lazy("state")
    parameter_name = "state"
    WORDS = {
        "waiting": gettext_lazy("Waiting"),
        "mine": gettext_lazy("Given to me"),
        "decided": gettext_lazy("Decided"),
        "all": gettext_lazy("All"),
    }
    QUERIES = {"waiting": Q(decided=False), "decided": Q(decided=True)}

    def choices(self, changelist: Any) -> Any:
        """Without Django's own "All", which is not what one gets here without asking."""
        chosen = self.value() or "waiting"
        for value, word in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": chosen == value, "query_string": query, "display": word}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "mine":
            assert request.user.is_authenticated
            return queryset.filter(decided=False, assigned=request.user.email)
        if self.value() is None:
            return queryset.filter(self.QUERIES["waiting"])
        return super().queryset(request, queryset)


class DisputedFilter(Filter):
    title = gettext_lazy("disputed")
    parameter_name = "disputed"
    WORDS = {"yes": gettext_lazy("Yes"), "no": gettext_lazy("No")}
    QUERIES = {"yes": Q(disputed=True), "no": Q(disputed=False)}


class ScoreFilter(Filter):
    title = gettext_lazy("score")
    parameter_name = "band"
    BANDS = [(low / 10, (low + 2) / 10) for low in range(0, 10, 2)]
    WORDS = {f"{low:.1f}": f"{low:.1f}–{high:.1f}" for low, high in BANDS} | {"none": gettext_lazy("none")}
    QUERIES = {f"{low:.1f}": Q(score__gte=low, score__lt=high if high < 1 else 1.1) for low, high in BANDS} | {
        "none": Q(score=None)
    }


class OpinionForm(forms.Form):
    """What a reviewer says about a result."""

    verdict = forms.ChoiceField(
        label=gettext_lazy("Verdict"),
        choices=[(str(word), words.HUMAN_WORDS[word]) for word in HUMAN_VERDICTS],
        widget=forms.RadioSelect,
    )
    note = forms.CharField(
        label=gettext_lazy("Note for other reviewers"),
        help_text=gettext_lazy("The user does not see it."),
        required=False,
        max_length=Dispute.LONGEST,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    answer = forms.CharField(
        label=gettext_lazy("Answer to the user"),
        help_text=gettext_lazy("Shown with the decision, without your name."),
        required=False,
        max_length=Dispute.LONGEST,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    run = forms.CharField(required=False, widget=forms.HiddenInput)


def _extend_label() -> str:
    """As the settings are."""
    days = retention.extension().days
    return ngettext("Keep the file for %(days)d more day", "Keep the file for %(days)d more days", days) % {
        "days": days
    }


class AssignForm(ActionForm):
    """Beside the actions: whom to give the ticked cases to."""

    reviewer = forms.ModelChoiceField(queryset=User.objects.none(), required=False, label=gettext_lazy("to"))

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields["reviewer"]
        assert isinstance(field, forms.ModelChoiceField)
        staff = User.objects.filter(is_staff=True, is_active=True).order_by("email")
        field.queryset = staff.filter(
            Q(is_superuser=True)
            | Q(groups__permissions__codename="review_analysis")
            | Q(user_permissions__codename="review_analysis")
        ).distinct()


@admin.register(QueuedAnalysis)
class QueueAdmin(ReadOnly, admin.ModelAdmin):
    """Disputed first, then what the model is unsure of, then the rest; the oldest first."""

    list_display = ("face", "file", "model_says", "rounded_score", "state", "assigned_to", "age")
    list_display_links = ("face", "file")
    list_filter = (StateFilter, DisputedFilter, "verdict", ScoreFilter, "model_version", "upload__kind", "created_at")
    search_fields = ("id", "upload__name", "upload__sha256")
    date_hierarchy = "created_at"
    list_per_page = 50
    show_full_result_count = False
    action_form = AssignForm
    actions = ("give_to", "rerun", "extend", "end_media")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_review(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del obj
        return may_review(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[QueuedAnalysis]:
        del request
        return queue.queue()

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        del request
        return queue.ORDER

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("statistics/", wrap(self.statistics_view), name="review_statistics"),
            path("next/", wrap(self.next_view), name="review_next"),
        ]
        return own + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "title": _("Review queue")})

    # -- The list ------------------------------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("face"))
    def face(self, row: Any) -> str:
        if row.thumbnail is None:
            return "–"
        url = reverse("detection:file", args=[row.pk, f"tracks/{row.thumbnail}.jpg"])
        return format_html('<img src="{}" width="56" height="56" loading="lazy" alt="{}">', url, _("face"))

    @admin.display(description=gettext_lazy("file"), ordering="upload__name")
    def file(self, row: QueuedAnalysis) -> str:
        return row.upload.name

    @admin.display(description=gettext_lazy("model says"), ordering="verdict")
    def model_says(self, row: QueuedAnalysis) -> str:
        return words.short_word(row.verdict)

    @admin.display(description=gettext_lazy("score"), ordering="score")
    def rounded_score(self, row: QueuedAnalysis) -> str:
        return figures.score(row.score)

    @admin.display(description=gettext_lazy("sent"), ordering="created_at")
    def age(self, row: QueuedAnalysis) -> str:
        # In one word, and to the minute on demand: seven columns have to fit beside the filters.
        when = timezone.localtime(row.created_at)
        return format_html(
            '<span title="{}">{}</span>',
            date_format(when, "DATETIME_FORMAT"),
            _("%(time)s ago") % {"time": timesince(row.created_at, depth=1)},
        )

    @admin.display(description=gettext_lazy("state"), ordering="rank")
    def state(self, row: Any) -> str:
        if row.decided:
            return _("decided: %(word)s") % {"word": words.human_word(row.reviewed_verdict)}
        if row.disputed:
            return _("disputed, %(number)d of 2 opinions") % {"number": min(2, row.opinions or 0)}
        return _("%(number)d opinions") % {"number": row.opinions} if row.opinions else _("waiting")

    @admin.display(description=gettext_lazy("given to"), ordering="assigned")
    def assigned_to(self, row: Any) -> str:
        return row.assigned or "–"

    # -- Actions -------------------------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Assign to the reviewer chosen here (none chosen: take back)"))
    def give_to(self, request: HttpRequest, queryset: QuerySet[QueuedAnalysis]) -> None:
        assert request.user.is_authenticated
        chosen = request.POST.get("reviewer", "")
        reviewer = User.objects.filter(pk=int(chosen)).first() if chosen.isdecimal() else None
        if chosen and reviewer is None:
            self.message_user(request, _("There is no such reviewer. Nothing was changed."), messages.WARNING)
            return
        try:
            number = review.assign(analyses=_plain(queryset), reviewer=reviewer, by=request.user)
        except Refused as refused:
            self.message_user(request, refused.detail, messages.WARNING)
            return
        done = ngettext("%(number)d case was given.", "%(number)d cases were given.", number)
        self.message_user(request, done % {"number": number}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Run again with the current model"))
    def rerun(self, request: HttpRequest, queryset: QuerySet[QueuedAnalysis]) -> None:
        self._say(request, *run_again(request, _plain(queryset)))

    @admin.action(description=lazy(_extend_label, str)())
    def extend(self, request: HttpRequest, queryset: QuerySet[QueuedAnalysis]) -> None:
        limited = 0

        def act(analysis: Analysis) -> dict[str, Any]:
            nonlocal limited
            assert request.user.is_authenticated
            before = analysis.upload.media_expires_at
            wanted = max(retention.file_due(analysis.upload) or timezone.now(), timezone.now()) + retention.extension()
            until = retention.extend(analysis, by=request.user)
            limited += until < wanted
            return {
                "before": {"until": before.isoformat() if before else None},
                "after": {"until": until.isoformat()},
            }

        self._say(request, *for_each(request, _plain(queryset), audit.Action.EXTEND, act))
        if limited:
            text = ngettext(
                "%(number)d file is kept for less than that: no file is kept for more than %(days)d days from now.",
                "%(number)d files are kept for less than that: no file is kept for more than %(days)d days from now.",
                limited,
            )
            self.message_user(request, text % {"number": limited, "days": settings.HOLD_DAYS}, messages.INFO)

    @admin.action(description=gettext_lazy("Delete the file now"))
    def end_media(self, request: HttpRequest, queryset: QuerySet[QueuedAnalysis]) -> None:
        def act(analysis: Analysis) -> None:
            assert request.user.is_authenticated
            retention.end_now(analysis, by=request.user)

        self._say(request, *for_each(request, _plain(queryset), audit.Action.END, act))

    def _say(self, request: HttpRequest, done: int, refusals: Mapping[str, int]) -> None:
        if done:
            text = ngettext("Done for %(number)d case.", "Done for %(number)d cases.", done)
            self.message_user(request, text % {"number": done}, messages.SUCCESS)
        for detail, number in refusals.items():
            self.message_user(request, f"{number} × {detail}", messages.WARNING)

    # -- Pages ---------------------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page on which a reviewer judges; the same evidence as the user's."""
        del form_url, extra_context
        if not may_review(request.user):
            raise PermissionDenied
        analysis = self._find(object_id)
        assert request.user.is_authenticated
        form = OpinionForm(request.POST if request.method == "POST" else None, initial={"run": review.run_of(analysis)})
        if request.method == "POST" and form.is_valid():
            return self._store(request, analysis, form)
        if analysis.upload.user_id != request.user.pk:
            audit.note_reading(reader=request.user, analysis=analysis)
        status = 400 if form.errors else 200
        return render(
            request, "admin/detection/queuedanalysis/review.html", self._context(request, analysis, form), status=status
        )

    def _find(self, object_id: str) -> Analysis:
        try:
            known = queue.queue().filter(pk=uuid.UUID(object_id)).exists()
        except ValueError:
            known = False
        if not known:
            raise Http404
        return Analysis.objects.select_related("upload").get(pk=object_id)

    def _store(self, request: HttpRequest, analysis: Analysis, form: OpinionForm) -> HttpResponse:
        assert request.user.is_authenticated
        try:
            case = review.give_opinion(analysis=analysis, reviewer=request.user, **form.cleaned_data)
        except Refused as refused:
            messages.warning(request, refused.detail)
            return HttpResponseRedirect(request.path)
        case.refresh_from_db()
        stored = _("Stored: decided.") if case.is_decided else _("Stored. The case needs another opinion.")
        messages.success(request, f"{analysis.upload.name}: {stored}")
        return _next(request.user, after=analysis)

    def _context(self, request: HttpRequest, analysis: Analysis, form: OpinionForm) -> dict[str, Any]:
        assert request.user.is_authenticated
        report = reports.analysis_payload(analysis)
        standing = queue.standing(analysis)
        following = queue.next_for(request.user, after=analysis)
        spec = card.model_of(analysis)
        return {
            "analysis": analysis,
            "upload": analysis.upload,
            "report": report,
            "page_report": page_payload(analysis, report),
            "quality": quality_notes(report, spec.quality if spec else None),
            "false_alarms": card.false_alarms(spec, analysis.upload.kind),
            "form": form,
            "choices": _choices(analysis, form),
            "standing": standing,
            "own": analysis.upload.user_id == request.user.pk,
            "judged": any(opinion.reviewer_id == request.user.pk for opinion in standing.reviews),
            "counts": any(opinion.reviewer_id == request.user.pk for opinion in standing.counting),
            "following": following,
        }

    def next_view(self, request: HttpRequest) -> HttpResponse:
        """The case that should be looked at next."""
        if not may_review(request.user):
            raise PermissionDenied
        assert request.user.is_authenticated
        return _next(request.user)

    def statistics_view(self, request: HttpRequest) -> HttpResponse:
        if not may_review(request.user):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": _("Figures about reviewing"),
            "opts": self.opts,
            "waiting": statistics.waiting(),
            "work": statistics.work(),
            "agreement": [(row, _shares(row)) for row in statistics.agreement()],
            "trials": [(trial, _compared(trial)) for trial in trials.trials()],
            "volumes": statistics.volumes(),
        }
        return TemplateResponse(request, "admin/detection/queuedanalysis/statistics.html", context)


def _plain(queryset: QuerySet[QueuedAnalysis]) -> QuerySet[Analysis]:
    """As the services know them."""
    ids = list(queryset.values_list("pk", flat=True))
    return Analysis.objects.filter(pk__in=ids).select_related("upload").order_by("created_at")


def _next(reviewer: User, *, after: Analysis | None = None) -> HttpResponse:
    following = queue.next_for(reviewer, after=after)
    if following is None:
        return redirect("admin:detection_queuedanalysis_changelist")
    return redirect("admin:detection_queuedanalysis_change", following.pk)


def _choices(analysis: Analysis, form: OpinionForm) -> list[dict[str, Any]]:
    """What can be said, with the key for it and what it is to the model's verdict."""
    said = {
        "confirmed": _("confirms the model"),
        "overturned": _("overturns the model"),
        "cannot_tell": _("says nothing either way"),
    }
    return [
        {
            "verdict": str(verdict),
            "word": words.human_word(verdict),
            # Of what the model could not tell there is more than one thing that overturns it.
            "key": KEYS[verdict] if analysis.verdict == Verdict.INCONCLUSIVE else told[0],
            "meaning": said[told[1]],
            "checked": form["verdict"].value() == verdict,
        }
        for verdict, told in ((verdict, _told(analysis, verdict)) for verdict in HUMAN_VERDICTS)
    ]


def _told(analysis: Analysis, verdict: str) -> tuple[str, str]:
    """Key and word for what a verdict is to the model's."""
    decided = decision(analysis.verdict, verdict)
    return {"confirmed": "c", "overturned": "o", "cannot_tell": "t"}[decided], str(decided)


def _shares(row: statistics.Agreement) -> list[tuple[str, str, str]]:
    """Name, value and interval in words."""
    named = [
        (_("Reviewers agree with the model"), row.agreement),
        (_("Genuine to reviewers, of what the model called strong signs"), row.overturned_flags),
        (_("Strong signs to the model, of what reviewers call genuine (false alarms)"), row.false_alarms),
    ]
    return [(name, *_share(share)) for name, share in named]


def _compared(trial: trials.Trial) -> list[tuple[str, str, str]]:
    """The same about a challenger and the model that judged."""
    named = [
        (_("The two say the same"), trial.agreement),
        (_("Reviewers agree with %(model)s") % {"model": trial.model}, trial.model_and_people),
        (_("Reviewers agree with %(model)s") % {"model": trial.challenger}, trial.challenger_and_people),
    ]
    return [(name, *_share(share)) for name, share in named]


def _share(share: statistics.Share) -> tuple[str, str]:
    if share.value is None:
        return "–", ""
    low, high = share.interval
    value = f"{figures.percent(share.value)} ({share.hits}/{share.trials})"
    return value, f"{figures.percent(low)} – {figures.percent(high)}"


@admin.register(AuditEntry)
class AuditAdmin(ReadOnly, admin.ModelAdmin):
    """Who did what. Added to by what people do, changed by nobody."""

    list_display = ("at", "role", "who", "action", "object_type", "object_id", "before", "after")
    list_filter = ("action", "role", "at")
    search_fields = ("object_id",)
    date_hierarchy = "at"
    fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        del request, obj
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        # An account may be gone; then the entry is there all the same. One query for all that are not.
        return super().get_queryset(request).prefetch_related("actor")

    @admin.display(description=gettext_lazy("who"), ordering="actor")
    def who(self, entry: AuditEntry) -> str:
        if entry.actor_id is None:
            return "–"
        return _who(entry)


def _who(entry: AuditEntry) -> str:
    # Fetched beforehand, an actor who is gone is None.
    return str(entry.actor or _("account %(number)d, deleted") % {"number": entry.actor_id})
