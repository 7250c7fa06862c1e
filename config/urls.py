"""Every address of the site."""

from __future__ import annotations

from allauth.mfa.recovery_codes.views import download_recovery_codes, view_recovery_codes
from django.contrib import admin
from django.urls import include, path

from accounts.views import NewRecoveryCodes, if_readable, set_language
from detection import monitoring_views

urlpatterns = [
    path("", include("detection.urls")),
    path("", include("detection.api.root_urls")),
    path("api/v1/", include("detection.api.urls")),
    path("accounts/", include("accounts.urls")),
    # allauth's own, which it also names so; see accounts.views.
    path("accounts/2fa/recovery-codes/", if_readable(view_recovery_codes), name="mfa_view_recovery_codes"),
    path("accounts/2fa/recovery-codes/generate/", NewRecoveryCodes.as_view(), name="mfa_generate_recovery_codes"),
    path(
        "accounts/2fa/recovery-codes/download/",
        if_readable(download_recovery_codes),
        name="mfa_download_recovery_codes",
    ),
    path("accounts/", include("allauth.urls")),
    path("metrics", monitoring_views.metrics, name="metrics"),
    path("language/", set_language, name="set_language"),
    path("admin/", admin.site.urls),
]

handler400 = "detection.views.bad_request"
handler403 = "detection.views.permission_denied"
handler404 = "detection.views.not_found"
handler500 = "detection.views.server_error"
