"""Pages about one's own account that allauth does not have."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import tokens
from accounts.forms import TokenForm
from accounts.models import ApiToken


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def token_list(request: HttpRequest) -> HttpResponse:
    """One's API tokens, and a form for a new one, whose key is shown in the answer and never again.

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
