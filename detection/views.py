"""Pages: parse, authorise, one service, render."""

from __future__ import annotations

import sys
import uuid

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import SuspiciousOperation
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import requires_csrf_token
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.middleware import reader
from detection import downloads, limits, open_access, readiness, reports, retention, selectors, services, serving
from detection.forms import ChosenForm, DisputeForm, HistoryForm, KeepField, KeepForm, RetryForm, UploadForm
from detection.models import Analysis, may_review
from detection.problems import Refused, outage, problem_response, refusal_response, wants_json
from detection.reports import card
from detection.reports.model_card import sections as model_sections
from detection.reports.page import page_payload, quality_notes
from detection.reports.table import history_csv
from detection.review import audit
from detection.review import services as review
from detection.validators import ALLOWED_EXTENSIONS

PER_PAGE = 20


@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """The landing page, the upload page for those who are signed in, or JSON for programs."""
    if wants_json(request):
        return JsonResponse(readiness.alive())
    if not request.user.is_authenticated:
        return render(request, "detection/landing.html")
    return _upload_page(request, UploadForm())


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Take files. Programs send one and get 202; a browser's form may send several."""
    if not request.user.is_authenticated:
        return _sign_in_first(request)
    if request.method != "POST":
        return redirect("detection:home")  # the address stays in the browser after a refusal; people reload it
    form = UploadForm(request.POST, request.FILES)
    try:
        limits.spend(request, "uploads", user=request.user.pk, cost=max(1, len(request.FILES.getlist("file"))))
        if wants_json(request):
            return _upload_json(request, form)
        if not form.is_valid():
            return _upload_page(request, form, status=Refused(*form.first_error()).status)
        analyses = services.submit_all(
            user=request.user,
            uploads=form.cleaned_data["file"],
            mode=form.cleaned_data["mode"],
            keep_seconds=form.cleaned_data["retain_seconds"],
            consent=form.cleaned_data["consent"],
        )
    except Refused as refused:
        return _too_much(request, form, refused)
    return redirect(analyses[0] if len(analyses) == 1 else "detection:analysis_list")


def _too_much(request: HttpRequest, form: UploadForm, refused: Refused) -> HttpResponse:
    """Refused for how often, not for what: said on the page that the file came from."""
    if wants_json(request):
        return refusal_response(refused)
    form.full_clean()
    form.add_error("file", refused.detail)
    return refused.mark(_upload_page(request, form, status=refused.status))


@require_POST
@login_required
def sample(request: HttpRequest, name: str) -> HttpResponse:
    """Have a sample analysed."""
    if name not in services.SAMPLES:
        raise Http404
    assert request.user.is_authenticated
    try:
        limits.spend(request, "uploads", user=request.user.pk)
        return redirect(services.submit_sample(user=request.user, name=name))
    except Refused as refused:
        messages.error(request, refused.detail)
        return redirect("detection:home")


def _upload_json(request: HttpRequest, form: UploadForm) -> HttpResponse:
    if len(request.FILES.getlist("file")) > 1:
        return problem_response("invalid_request", _("Send one file per request."))
    if not form.is_valid():
        return problem_response(*form.first_error())
    assert request.user.is_authenticated
    analysis = services.submit(
        user=request.user,
        upload=form.cleaned_data["file"][0],
        mode=form.cleaned_data["mode"],
        keep_seconds=form.cleaned_data["retain_seconds"],
        consent=form.cleaned_data["consent"],
    )
    return JsonResponse(reports.submitted(analysis, request.build_absolute_uri), status=202)


def _upload_page(request: HttpRequest, form: UploadForm, *, status: int = 200) -> HttpResponse:
    assert request.user.is_authenticated
    keep = form.fields["retain_seconds"]
    assert isinstance(keep, KeepField)
    keep.offer(retention.usual(request.user))
    context = {
        "form": form,
        "max_upload_bytes": settings.MAX_UPLOAD_BYTES,
        "allowed_extensions": ALLOWED_EXTENSIONS,
        "standard_frames": settings.ANALYSIS_FRAMES,
        "recent": selectors.recent(request.user),
        "counts": selectors.counts_of(request.user),
    }
    return render(request, "detection/upload.html", context, status=status)


@require_safe
@login_required
@never_cache
def analysis_list(request: HttpRequest) -> HttpResponse:
    form = HistoryForm(request.GET)
    page = Paginator(selectors.history(request.user, form.wanted()), PER_PAGE).get_page(request.GET.get("page"))
    context = {"page_obj": page, "form": form, "counts": selectors.counts_of(request.user), "query": form.query()}
    return render(request, "detection/analysis_list.html", context)


@require_safe
@login_required
@never_cache
def analysis_export(request: HttpRequest) -> HttpResponse:
    """The history, filtered as the page is, as CSV."""
    wanted = HistoryForm(request.GET).wanted()
    content = history_csv(selectors.history(request.user, wanted).iterator())
    headers = {"Content-Disposition": 'attachment; filename="veriframe-history.csv"'}
    return HttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)


@require_POST
@login_required
@never_cache
def analysis_bulk(request: HttpRequest) -> HttpResponse:
    """Delete what was ticked in the history, after asking, or analyse it anew."""
    form = ChosenForm(request.POST)
    narrowed = HistoryForm(request.GET)  # travels along, so that the history comes back as it was
    narrowed.wanted()
    query = narrowed.query()
    back = f"{reverse('detection:analysis_list')}?{query}".removesuffix("?")
    if not form.is_valid():
        return bad_request(request, SuspiciousOperation())
    analyses = list(selectors.chosen(request.user, form.cleaned_data["analysis"]))
    if not analyses:
        messages.warning(request, _("Tick at least one analysis first."))
    elif form.cleaned_data["action"] == "retry":
        _retry_chosen(request, analyses)
    elif form.cleaned_data["confirmed"]:
        number = services.delete_all(analyses=analyses)
        done = ngettext("%(number)d analysis was deleted.", "%(number)d analyses were deleted.", number)
        messages.success(request, done % {"number": number})
        return downloads.forget_cached(redirect(back))
    else:
        context = {"analyses": analyses, "query": query, "back": back}
        return render(request, "detection/analysis_confirm_delete_many.html", context)
    return redirect(back)


def _retry_chosen(request: HttpRequest, analyses: list[Analysis]) -> None:
    try:
        limits.spend(request, "uploads", user=request.user.pk, cost=len(analyses))
        begun, refused = services.retry_all(analyses=analyses)
    except Refused as too_much:
        messages.warning(request, too_much.detail)
        return
    if begun:
        done = ngettext("%(number)d analysis begins anew.", "%(number)d analyses begin anew.", begun)
        messages.success(request, done % {"number": begun})
    if refused:
        left = ngettext(
            "%(number)d was left alone: it is not finished yet, or its file was deleted.",
            "%(number)d were left alone: they are not finished yet, or their files were deleted.",
            refused,
        )
        messages.warning(request, left % {"number": refused})


@require_safe
@login_required
@never_cache
def analysis_detail(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    analysis = selectors.get_analysis(request.user, analysis_id)
    report = reports.analysis_payload(analysis)
    context = {
        "analysis": analysis,
        "upload": analysis.upload,
        "report": report,
        "page_report": page_payload(analysis, report),
        "file_due": retention.file_due(analysis.upload),
        "dispute_form": DisputeForm(),
        "hold_days": settings.HOLD_DAYS,
        "keep_form": KeepForm(now=retention.kept_for(analysis.upload)),
    }
    if request.method == "GET":
        review.mark_seen(analysis)
    if report["result"]:
        spec = card.model_of(analysis)
        context["quality"] = quality_notes(report, spec.quality if spec else None)
        context["false_alarms"] = card.false_alarms(spec, analysis.upload.kind)
    return render(request, "detection/analysis_detail.html", context)


@require_POST
@login_required
def analysis_cancel(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    analysis = selectors.get_analysis(request.user, analysis_id)
    try:
        services.cancel(analysis=analysis)
    except Refused as refused:
        return _conflict(request, analysis, refused)
    return redirect(analysis)


@require_POST
@login_required
def analysis_retry(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    analysis = selectors.get_analysis(request.user, analysis_id)
    form = RetryForm(request.POST)
    if not form.is_valid():
        return bad_request(request, SuspiciousOperation())
    try:
        limits.spend(request, "uploads", user=request.user.pk)
        services.retry(analysis=analysis, mode=form.cleaned_data["mode"])
    except Refused as refused:
        return _conflict(request, analysis, refused)
    return redirect(analysis)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def analysis_delete(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    analysis = selectors.get_analysis(request.user, analysis_id)
    if request.method == "POST":
        name = analysis.upload.name
        services.delete(analysis=analysis)
        messages.success(request, _("“%(name)s” and everything found in it was deleted.") % {"name": name})
        return downloads.forget_cached(redirect("detection:analysis_list"))
    context = {"analysis": analysis, "upload": analysis.upload}
    return render(request, "detection/analysis_confirm_delete.html", context)


def _conflict(request: HttpRequest, analysis: Analysis, refused: Refused) -> HttpResponse:
    """Somebody pressed a button on a page that was out of date: show the page as it is now."""
    if wants_json(request):
        return refusal_response(refused)
    messages.warning(request, refused.detail)
    return redirect(analysis)


def _readable(request: HttpRequest, analysis_id: uuid.UUID) -> Analysis:
    """One's own, by session or token; as a reviewer also what there is to review, by session only, and it is noted."""
    user = reader(request)
    if user != request.user or not may_review(user):
        return selectors.get_analysis(user, analysis_id)
    analysis = selectors.get_readable(user, analysis_id)
    if analysis.upload.user_id != user.pk:
        assert user.is_authenticated
        audit.note_reading(reader=user, analysis=analysis)
    return analysis


@require_safe
def file(request: HttpRequest, analysis_id: uuid.UUID, name: str) -> HttpResponseBase:
    """The original and the derived pictures, for the one who may see the analysis: by session, token or key."""
    key = request.GET.get("key", "")
    open_to_all = bool(key)
    if open_to_all:
        analysis = open_access.get_analysis(analysis_id, key)
    else:
        analysis = _readable(request, analysis_id)
    response = downloads.answer(request, analysis, name)
    if open_to_all:  # shown on pages of other sites, which is what it is for
        response["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


@require_safe
def model(request: HttpRequest) -> HttpResponse:
    """What is known about the model that new analyses are judged by. For everybody: it is no secret."""
    spec = serving.served_if_any()
    if spec is None:  # the log says why
        return render(request, "detection/model_missing.html", status=503)
    context = {
        "spec": spec,
        "has_facts": card.facts_of(spec) is not None,
        "thresholds": card.thresholds(spec),
        "sections": model_sections(spec),
    }
    return render(request, "detection/model.html", context)


@require_safe
def model_plot(request: HttpRequest, name: str) -> HttpResponseBase:
    """A plot that belongs to the facts about a model."""
    path = card.plot(name)
    if path is None:
        raise Http404
    return downloads.serve(request, downloads.Download(path, "image/svg+xml", f"{name}.svg"))


def _sign_in_first(request: HttpRequest) -> HttpResponse:
    if wants_json(request):
        return problem_response("not_authenticated", _("Sign in first."))
    return redirect(settings.LOGIN_URL)


# -- Errors of the whole site -----------------------------------------------------------------------------------------


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if wants_json(request):
        return problem_response("invalid_request", _("The request cannot be understood."))
    # Plain: the request itself is what is wrong, so no page is built from it.
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    del exception
    if wants_json(request):
        return problem_response("permission_denied", _("You may not do this."))
    return render(request, "403.html", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    del exception
    if wants_json(request):
        return problem_response("not_found", _("There is nothing here, or it is not yours."))
    return render(request, "404.html", status=404)


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponseBase:
    # Django calls this while it handles the exception. It has logged it with its traceback.
    away = outage(sys.exc_info()[1])
    if away is not None:
        if wants_json(request):
            return refusal_response(away)
        # Without the request: who it is from would be asked of the database.
        page = render_to_string("503.html", {"refused": away, "csrf_token": get_token(request)})
        return away.mark(HttpResponse(page, status=away.status))
    if wants_json(request):
        return problem_response("server_error", _("Something went wrong on our side."))
    return render(request, "500.html", status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    del reason  # Django has logged it, with the address
    if wants_json(request):
        detail = _("The page is too old or cookies are blocked. Reload it and try again.")
        return problem_response("csrf_failed", detail)
    return render(request, "403_csrf.html", status=403)
