"""Addresses of the API, version 1."""

from __future__ import annotations

from django.urls import path

from detection.api import views

app_name = "api"

urlpatterns = [
    path("analyses/", views.AnalysisList.as_view(), name="analysis-list"),
    path("analyses/<uuid:analysis_id>/", views.AnalysisDetail.as_view(), name="analysis-detail"),
    path("analyses/<uuid:analysis_id>/cancel/", views.AnalysisCancel.as_view(), name="analysis-cancel"),
    path("analyses/<uuid:analysis_id>/retry/", views.AnalysisRetry.as_view(), name="analysis-retry"),
    path(
        "analyses/<uuid:analysis_id>/report.pdf",
        views.AnalysisReport.as_view(),
        {"extension": "pdf"},
        "analysis-report-pdf",
    ),
    path(
        "analyses/<uuid:analysis_id>/report.json",
        views.AnalysisReport.as_view(),
        {"extension": "json"},
        "analysis-report-json",
    ),
]
