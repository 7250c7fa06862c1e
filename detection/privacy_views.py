"""Pages about one's data: take it along, or have it deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from allauth.account.decorators import reauthentication_required
from allauth.account.forms import ReauthenticateForm as PasswordForm
from allauth.core import ratelimit
from allauth.mfa.utils import is_mfa_enabled
from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.second_factor import ReauthenticateForm as CodeForm
from detection import downloads, limits, quota
from detection.privacy import archive, erasure
from detection.problems import Refused


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
@reauthentication_required
def download_archive(request: HttpRequest) -> HttpResponseBase:
    """Say what is in the archive; send it."""
    if request.method != "POST":
        return render(request, "privacy/archive.html")
    assert request.user.is_authenticated
    try:
        limits.spend(request, "uploads", user=request.user.pk)  # making the reports is work like an upload's
    except Refused as refused:
        return limits.refused_page(request, refused)
    blocks = archive.stream(request.user, get_language() or "en")
    headers = {"Content-Disposition": 'attachment; filename="veriframe-data.zip"'}
    return StreamingHttpResponse(_in_turn(blocks), content_type="application/zip", headers=headers)


async def _in_turn(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Django would read a synchronous iterator to its end before it sends the first block."""
    step = sync_to_async(lambda: next(blocks, b""))  # in the request's own thread, where its database connection is
    while block := await step():
        yield block


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def account_delete(request: HttpRequest) -> HttpResponse:
    """Ask for password and, where there is one, second factor; then delete the account with all that is stored."""
    user = request.user
    assert user.is_authenticated
    proven, forms = _proof(request, user)
    if proven:
        try:
            erasure.erase(user=user)
        except Refused as refused:
            forms[0].add_error(None, refused.detail)
        else:
            logout(request)
            messages.success(request, _("Your account and everything in it was deleted."))
            return downloads.forget_cached(redirect("detection:home"))
    context = {"forms": forms, "stored": quota.stored(user)}
    return render(request, "privacy/account_delete.html", context, status=400 if request.method == "POST" else 200)


def _proof(request: HttpRequest, user: User) -> tuple[bool, list[Form]]:
    """Whether it is the user who asks, and the forms to show.

    Both proofs, although allauth would be content with one of them: there is no way back from here. The code is looked
    at only after a good password: looking uses it up.
    """
    data = request.POST if request.method == "POST" else None
    password = PasswordForm(data, user=user)
    forms: list[Form] = [password]
    has_code = is_mfa_enabled(user, types=["totp"])
    proven = data is not None and _not_too_often(request, password) and password.is_valid()
    if has_code:
        forms.append(CodeForm(data if proven else None, user=user))
        proven = proven and forms[1].is_valid()
    return proven, forms


def _not_too_often(request: HttpRequest, form: Form) -> bool:
    if ratelimit.consume(request, action="reauthenticate", user=request.user):
        return True
    form.add_error(None, _("That was too often. Wait a minute."))
    return False
