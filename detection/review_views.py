"""What a user says about a result: that it is wrong, and whether its file may be used."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from detection import limits, selectors
from detection.forms import DisputeForm
from detection.problems import Refused
from detection.review import services


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def dispute(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    """Ask what is wrong, then hand it to the reviewers."""
    analysis = selectors.get_analysis(request.user, analysis_id)
    form = DisputeForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            limits.spend(request, "uploads", user=request.user.pk)
            services.dispute(analysis=analysis, **form.cleaned_data)
        except Refused as refused:
            messages.warning(request, refused.detail)
        else:
            messages.success(request, _("A reviewer will look at it. You will find the answer here."))
        return redirect(f"{analysis.get_absolute_url()}#review")
    context: dict[str, Any] = {
        "analysis": analysis,
        "upload": analysis.upload,
        "form": form,
        "hold_days": settings.HOLD_DAYS,
    }
    return render(request, "detection/dispute.html", context, status=400 if form.errors else 200)


@require_POST
@login_required
def withdraw(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    """Take it back."""
    analysis = selectors.get_analysis(request.user, analysis_id)
    try:
        limits.spend(request, "uploads", user=request.user.pk)
        services.withdraw(analysis=analysis)
    except Refused as refused:
        messages.warning(request, refused.detail)
    else:
        messages.success(request, _("You have taken it back."))
    return redirect(f"{analysis.get_absolute_url()}#review")


@require_POST
@login_required
def consent(request: HttpRequest, analysis_id: uuid.UUID) -> HttpResponse:
    """Allow, or no longer allow, that the file is used to improve the detector."""
    analysis = selectors.get_analysis(request.user, analysis_id)
    given = request.POST.get("consent") == "yes"
    try:
        limits.spend(request, "uploads", user=request.user.pk)
        services.set_consent(analysis=analysis, given=given)
    except Refused as refused:
        messages.warning(request, refused.detail)
    else:
        thanks = _("Thank you. You can take this back here at any time.")
        messages.success(request, thanks if given else _("The file will not be used any more."))
    return redirect(f"{analysis.get_absolute_url()}#review")
