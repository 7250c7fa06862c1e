"""Pages about one's own account that allauth does not have."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.decorators import reauthentication_required
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST
from django.views.generic import FormView
from django.views.i18n import set_language as set_cookie

from accounts import preferences, sessions, tokens
from accounts.forms import PreferencesForm, TokenForm
from accounts.models import ApiToken, User
from accounts.roles import role_of
from config.sealing import CannotUnseal


def set_language(request: HttpRequest) -> HttpResponse:
    """The switch at the foot of every page: a cookie for visitors; users find their choice on every device."""
    response = set_cookie(request)
    language = request.POST.get("language", "")
    if request.user.is_authenticated and language in dict(settings.LANGUAGES):
        preferences.change(request.user, language=language)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """The account at a glance: how one signs in, how pages look, what is told, and the way out."""
    assert request.user.is_authenticated
    # A copy: a form that is not valid writes into its instance, and the page around it shows the user.
    form = PreferencesForm(request.POST or None, instance=User.objects.get(pk=request.user.pk))
    if request.method == "POST" and form.is_valid():
        preferences.change(request.user, **form.cleaned_data)
        response = redirect("accounts:home")
        if not form.cleaned_data["language"]:
            response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)  # or it would go before the browser's
        else:
            translation.activate(form.cleaned_data["language"])
        messages.success(request, _("Saved."))
        return response
    status = 400 if form.errors else 200
    return render(request, "accounts/home.html", {"form": form, **_at_a_glance(request.user)}, status=status)


def _at_a_glance(user: User) -> dict[str, object]:
    return {
        "role": role_of(user),
        "address": EmailAddress.objects.filter(user=user, email=user.email).first(),
        "second_factor": Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).first(),
        "session_count": len(UserSession.objects.purge_and_list(user)),
        "token_count": ApiToken.objects.filter(user=user).count(),
    }


@require_POST
@login_required
def session_end(request: HttpRequest, session_id: int) -> HttpResponse:
    """Sign one browser out."""
    get_object_or_404(UserSession, user=request.user.pk, pk=session_id).end()
    messages.success(request, _("That browser is signed out."))
    return redirect("usersessions_list")


@require_POST
@login_required
def sessions_end_all(request: HttpRequest) -> HttpResponse:
    """Sign every browser out, this one too."""
    for session in UserSession.objects.filter(user=request.user.pk):
        session.end()
    logout(request)
    messages.success(request, _("You are signed out everywhere."))
    return redirect("account_login")


def _is_unproved(request: HttpRequest) -> bool:
    return request.method == "POST" and not sessions.proved_recently(request)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
@reauthentication_required(enabled=_is_unproved)
def token_list(request: HttpRequest) -> HttpResponse:
    """One's API tokens, and a form for a new one, whose key is shown in the answer and never again.

    A token outlasts the session; so it is the user who makes one, and not whoever finds an open browser.

    The answer to the form is the page and no redirect: across a redirect the key would have to be stored somewhere.
    """
    form = TokenForm(request.POST or None)
    key = None
    if request.method == "POST" and form.is_valid():
        assert request.user.is_authenticated
        try:
            _token, key = tokens.issue(user=request.user, name=form.cleaned_data["name"], lifetime=form.lifetime)
            form = TokenForm()
        except tokens.TooManyTokens:
            form.add_error(None, _("You have too many tokens. Revoke one that is not used any more."))
    status = 400 if form.is_bound and not form.is_valid() else 200
    context = {"form": form, "key": key, "tokens": ApiToken.objects.filter(user=request.user.pk)}
    return render(request, "accounts/tokens.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def token_revoke(request: HttpRequest, public_id: uuid.UUID) -> HttpResponse:
    """Ask, then end a token."""
    token = get_object_or_404(ApiToken, user=request.user.pk, public_id=public_id)
    if request.method == "POST":
        assert request.user.is_authenticated
        tokens.revoke(user=request.user, public_id=public_id)
        messages.success(request, _("The token “%(name)s” was revoked.") % {"name": token.name})
        return redirect("accounts:tokens")
    return render(request, "accounts/token_confirm_revoke.html", {"token": token})


class NewRecoveryCodes(recovery_codes.GenerateRecoveryCodesView):
    """allauth's own, but codes that cannot be read any more can be replaced as well. None of them is left."""

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        try:
            found: dict[str, Any] = super().get_context_data(**context)
        except CannotUnseal:
            found = FormView.get_context_data(self, **context)
        return found


def if_readable(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page of allauth's about recovery codes. Where they cannot be read, new ones are all that there can be."""

    @wraps(view)
    def shown(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except CannotUnseal:
            return redirect("mfa_generate_recovery_codes")

    return shown
