"""The admin: entered by the sign-in page that everybody uses, and, where the site asks for it, by a second factor."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.staff import lacks_second_factor


class Site(admin.AdminSite):
    """Django's own, but nobody comes in past the limits, the second factor and the notices of our sign-in."""

    site_header = site_title = "Veriframe"

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and not lacks_second_factor(request.user)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Never a form: Django's would ask for the password only, and as often as one likes."""
        del extra_context
        if not request.user.is_authenticated:
            wanted = request.GET.get("next") or reverse("admin:index")
            return redirect_to_login(wanted, reverse(settings.LOGIN_URL))
        if not super().has_permission(request):
            raise PermissionDenied
        if lacks_second_factor(request.user):
            messages.warning(request, _("Set up a second factor first: this site asks it of everybody who works here."))
            return redirect("mfa_activate_totp")
        return redirect("admin:index")

    def password_change(  # type: ignore[override]  # typed as a page of its own
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        del request, extra_context
        return redirect("account_change_password")
