"""Pages about what is kept for how long: of one file, of one user, of the whole site."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from detection import downloads, quota, retention, selectors
from detection.forms import KeepForm
from detection.models import DeletionReceipt
from detection.privacy import facts
from detection.problems import Refused

PER_PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def file_delete(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    """Ask, then delete the file that was sent; its result stays."""
    analysis = selectors.get_analysis(request.user, analysis_id)
    assert request.user.is_authenticated
    if request.method != "POST":
        if analysis.upload.media_deleted_at is not None:
            return redirect(analysis)
        return render(request, "detection/file_confirm_delete.html", {"analysis": analysis, "upload": analysis.upload})
    response = redirect(analysis)
    try:
        retention.end_now(analysis, by=request.user)
    except Refused as refused:
        messages.warning(request, refused.detail)
    else:
        messages.success(request, _("The file was deleted. What was found in it stays."))
        downloads.forget_cached(response)
    return response


@require_POST
@login_required
def file_keep(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    """Keep a file for longer or shorter."""
    analysis = selectors.get_analysis(request.user, analysis_id)
    form = KeepForm(request.POST, now=retention.kept_for(analysis.upload))
    try:
        if form.is_valid():
            retention.keep_for(analysis.upload, form.cleaned_data["retain_seconds"])
            messages.success(request, _("Saved."))
        else:
            messages.warning(request, str(form.errors["retain_seconds"][0]))
    except Refused as refused:
        messages.warning(request, refused.detail)
    return redirect(analysis)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def storage(request: HttpRequest) -> HttpResponse:
    """What a user has stored, how long files are to be kept, and what was deleted."""
    assert request.user.is_authenticated
    form = KeepForm(request.POST or None, now=retention.usual(request.user))
    if request.method == "POST" and form.is_valid():
        retention.choose_usual(request.user, form.cleaned_data["retain_seconds"])
        messages.success(request, _("Saved."))
        return redirect("detection:storage")
    page = Paginator(DeletionReceipt.objects.visible_to(request.user), PER_PAGE).get_page(request.GET.get("page"))
    names = selectors.names_of_uploads(request.user, [receipt.upload_id for receipt in page])
    context = {
        "form": form,
        "page_obj": page,
        "receipts": [(receipt, names.get(receipt.upload_id, "")) for receipt in page],
        "stored": quota.stored(request.user),
        "limit": settings.STORAGE_BYTES,
        "receipt_days": settings.RECEIPT_DAYS,
    }
    return render(request, "detection/storage.html", context, status=400 if form.is_bound else 200)


@require_safe
def privacy(request: HttpRequest) -> HttpResponse:
    """What is stored, for how long, and who can read it: as this site is set up. For everybody."""
    return render(request, "detection/privacy.html", facts.facts())
