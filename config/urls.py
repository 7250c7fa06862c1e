"""Every address of the site."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views.i18n import set_language

# Admins sign in by the same page as everybody: one place that limits attempts.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.site_header = admin.site.site_title = "Veriframe"

urlpatterns = [
    path("", include("detection.urls")),
    path("", include("detection.api.root_urls")),
    path("api/v1/", include("detection.api.urls")),
    path("accounts/", include("accounts.urls")),
    path("accounts/", include("allauth.urls")),
    path("language/", set_language, name="set_language"),
    path("admin/", admin.site.urls),
]

handler400 = "detection.views.bad_request"
handler403 = "detection.views.permission_denied"
handler404 = "detection.views.not_found"
handler500 = "detection.views.server_error"
