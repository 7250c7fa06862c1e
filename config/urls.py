"""Every address of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from accounts.views import set_language
from detection import monitoring_views

urlpatterns = [
    path("", include("detection.urls")),
    path("", include("detection.api.root_urls")),
    path("api/v1/", include("detection.api.urls")),
    path("accounts/", include("accounts.urls")),
    path("accounts/", include("allauth.urls")),
    path("metrics", monitoring_views.metrics, name="metrics"),
    path("language/", set_language, name="set_language"),
    path("admin/", admin.site.urls),
]

handler400 = "detection.views.bad_request"
handler403 = "detection.views.permission_denied"
handler404 = "detection.views.not_found"
handler500 = "detection.views.server_error"
