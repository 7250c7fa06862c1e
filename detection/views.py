"""Pages: parse, authorise, one service, render."""

from __future__ import annotations

import logging
import uuid

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import requires_csrf_token
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from detection import downloads, reports, selectors, services
from detection.forms import UploadForm
from detection.models import Analysis
from detection.problems import Refused, problem_response, wants_json
from detection.validators import ALLOWED_EXTENSIONS

logger = logging.getLogger(__name__)

PER_PAGE = 20
RECENT = 5


@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """The landing page, the upload page for those who are signed in, or JSON for programs."""
    if wants_json(request):
        return health(request)
    if not request.user.is_authenticated:
        return render(request, "detection/landing.html")
    return _upload_page(request, UploadForm())


@require_safe
@never_cache
def health(request: HttpRequest) -> HttpResponse:
    """This process answers; whether database and broker do is another question."""
    del request
    return JsonResponse({"status": "ok", "version": settings.VERSION})


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Take files. Programs send one and get 202; a browser's form may send several."""
    if not request.user.is_authenticated:
        return _sign_in_first(request)
    if request.method != "POST":
        return redirect("detection:home")  # the address stays in the browser after a refusal; people reload it
    form = UploadForm(request.POST, request.FILES)
    if wants_json(request):
        return _upload_json(request, form)
    if not form.is_valid():
        code, _ = form.first_error()
        return _upload_page(request, form, status=Refused(code, "").status)
    analyses = [services.submit(user=request.user, upload=accepted) for accepted in form.cleaned_data["file"]]
    return redirect(analyses[0] if len(analyses) == 1 else "detection:analysis_list")


def _upload_json(request: HttpRequest, form: UploadForm) -> HttpResponse:
    if len(request.FILES.getlist("file")) > 1:
        return problem_response("invalid_request", "Send one file per request.")
    if not form.is_valid():
        return problem_response(*form.first_error())
    assert request.user.is_authenticated
    analysis = services.submit(user=request.user, upload=form.cleaned_data["file"][0])
    return JsonResponse(reports.submitted(analysis, request.build_absolute_uri), status=202)


def _upload_page(request: HttpRequest, form: UploadForm, *, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "max_upload_bytes": settings.MAX_UPLOAD_BYTES,
        "allowed_extensions": ALLOWED_EXTENSIONS,
        "recent": selectors.analyses_of(request.user)[:RECENT],
    }
    return render(request, "detection/upload.html", context, status=status)


@require_safe
@login_required
@never_cache
def analysis_list(request: HttpRequest) -> HttpResponse:
    page = Paginator(selectors.analyses_of(request.user), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "detection/analysis_list.html", {"page_obj": page})


@require_safe
@login_required
@never_cache
def analysis_detail(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    analysis = selectors.get_analysis(request.user, analysis_id)
    context = {"analysis": analysis, "upload": analysis.upload, "report": reports.analysis_payload(analysis)}
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
    try:
        services.retry(analysis=analysis)
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
        messages.success(request, f"“{name}” and everything found in it was deleted.")
        return redirect("detection:analysis_list")
    context = {"analysis": analysis, "upload": analysis.upload}
    return render(request, "detection/analysis_confirm_delete.html", context)


def _conflict(request: HttpRequest, analysis: Analysis, refused: Refused) -> HttpResponse:
    """Somebody pressed a button on a page that was out of date: show the page as it is now."""
    if wants_json(request):
        return problem_response(refused.code, refused.detail)
    messages.warning(request, refused.detail)
    return redirect(analysis)


@require_safe
def file(request: HttpRequest, analysis_id: uuid.UUID, name: str) -> HttpResponseBase:
    """The original and the derived pictures, for the one who may see the analysis."""
    analysis = selectors.get_analysis(request.user, analysis_id)
    found = downloads.locate(analysis, name)
    if found is None:
        raise Http404
    return downloads.serve(request, found)


def _sign_in_first(request: HttpRequest) -> HttpResponse:
    if wants_json(request):
        return problem_response("not_authenticated", "Sign in first.")
    return redirect(settings.LOGIN_URL)


# -- Errors of the whole site -----------------------------------------------------------------------------------------


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if wants_json(request):
        return problem_response("invalid_request", "The request cannot be understood.")
    # Plain: the request itself is what is wrong, so no page is built from it.
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    del exception
    if wants_json(request):
        return problem_response("permission_denied", "You may not do this.")
    return render(request, "403.html", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    del exception
    if wants_json(request):
        return problem_response("not_found", "There is nothing here, or it is not yours.")
    return render(request, "404.html", status=404)


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponse:
    if wants_json(request):
        return problem_response("server_error", "Something went wrong on our side.")
    return render(request, "500.html", status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    logger.info("CSRF check failed at %s: %s", request.path, reason)
    if wants_json(request):
        return problem_response("csrf_failed", "The page is too old or cookies are blocked. Reload it and try again.")
    return render(request, "403_csrf.html", status=403)
