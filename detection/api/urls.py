"""Addresses of the API, version 1."""

from __future__ import annotations

from django.urls import path

from detection.api import account, retention, review, views, webhooks

app_name = "api"

urlpatterns = [
    path("analyses/", views.AnalysisList.as_view(), name="analysis-list"),
    path("analyses/<uuid:analysis_id>/", views.AnalysisDetail.as_view(), name="analysis-detail"),
    path("analyses/<uuid:analysis_id>/cancel/", views.AnalysisCancel.as_view(), name="analysis-cancel"),
    path("analyses/<uuid:analysis_id>/retry/", views.AnalysisRetry.as_view(), name="analysis-retry"),
    path("analyses/<uuid:analysis_id>/report.pdf", views.AnalysisReportPdf.as_view(), name="analysis-report-pdf"),
    path("analyses/<uuid:analysis_id>/report.json", views.AnalysisReportJson.as_view(), name="analysis-report-json"),
    path("analyses/<uuid:analysis_id>/dispute/", review.AnalysisDispute.as_view(), name="analysis-dispute"),
    path("analyses/<uuid:analysis_id>/consent/", review.AnalysisConsent.as_view(), name="analysis-consent"),
    path("analyses/<uuid:analysis_id>/media/", retention.AnalysisMedia.as_view(), name="analysis-media"),
    path("deletions/", retention.DeletionList.as_view(), name="deletion-list"),
    path("usage/", account.Usage.as_view(), name="usage"),
    path("models/", account.ModelList.as_view(), name="model-list"),
    path("me/", account.Me.as_view(), name="me"),
    path("tokens/", account.TokenList.as_view(), name="token-list"),
    path("tokens/<uuid:public_id>/", account.TokenDetail.as_view(), name="token-detail"),
    path("webhooks/", webhooks.WebhookList.as_view(), name="webhook-list"),
    path("webhooks/callback-secret/", webhooks.CallbackSecret.as_view(), name="webhook-callback-secret"),
    path("webhooks/deliveries/", webhooks.DeliveryList.as_view(), name="delivery-list"),
    path(
        "webhooks/deliveries/<uuid:delivery_id>/redeliver/",
        webhooks.DeliveryRedeliver.as_view(),
        name="delivery-redeliver",
    ),
    path("webhooks/<uuid:webhook_id>/", webhooks.WebhookDetail.as_view(), name="webhook-detail"),
    path("webhooks/<uuid:webhook_id>/pause/", webhooks.WebhookPause.as_view(), name="webhook-pause"),
    path("webhooks/<uuid:webhook_id>/resume/", webhooks.WebhookResume.as_view(), name="webhook-resume"),
    path("webhooks/<uuid:webhook_id>/rotate/", webhooks.WebhookRotate.as_view(), name="webhook-rotate"),
]
