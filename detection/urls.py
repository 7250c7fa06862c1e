"""Addresses of pages."""

from __future__ import annotations

from django.urls import path

from detection import views

app_name = "detection"

urlpatterns = [
    path("", views.home, name="home"),
    path("health/", views.health, name="health"),
    path("upload/", views.upload, name="upload"),
    path("samples/<str:name>", views.sample, name="sample"),
    path("analyses/", views.analysis_list, name="analysis_list"),
    path("analyses/export.csv", views.analysis_export, name="analysis_export"),
    path("analyses/bulk/", views.analysis_bulk, name="analysis_bulk"),
    path("analyses/<uuid:analysis_id>/", views.analysis_detail, name="analysis_detail"),
    path("analyses/<uuid:analysis_id>/cancel/", views.analysis_cancel, name="analysis_cancel"),
    path("analyses/<uuid:analysis_id>/retry/", views.analysis_retry, name="analysis_retry"),
    path("analyses/<uuid:analysis_id>/delete/", views.analysis_delete, name="analysis_delete"),
    path("model/", views.model, name="model"),
    path("model/plots/<slug:name>.svg", views.model_plot, name="model_plot"),
    path("media/<uuid:analysis_id>/<path:name>", views.file, name="file"),
]
