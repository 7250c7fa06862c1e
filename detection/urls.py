"""Addresses of pages."""

from __future__ import annotations

from django.urls import path

from detection import privacy_views, retention_views, review_views, views, webhook_views

app_name = "detection"

urlpatterns = [
    path("", views.home, name="home"),
    path("upload/", views.upload, name="upload"),
    path("samples/<str:name>", views.sample, name="sample"),
    path("analyses/", views.analysis_list, name="analysis_list"),
    path("analyses/export.csv", views.analysis_export, name="analysis_export"),
    path("analyses/bulk/", views.analysis_bulk, name="analysis_bulk"),
    path("analyses/<uuid:analysis_id>/", views.analysis_detail, name="analysis_detail"),
    path("analyses/<uuid:analysis_id>/cancel/", views.analysis_cancel, name="analysis_cancel"),
    path("analyses/<uuid:analysis_id>/retry/", views.analysis_retry, name="analysis_retry"),
    path("analyses/<uuid:analysis_id>/delete/", views.analysis_delete, name="analysis_delete"),
    path("analyses/<uuid:analysis_id>/file/delete/", retention_views.file_delete, name="file_delete"),
    path("analyses/<uuid:analysis_id>/file/keep/", retention_views.file_keep, name="file_keep"),
    path("analyses/<uuid:analysis_id>/dispute/", review_views.dispute, name="dispute"),
    path("analyses/<uuid:analysis_id>/dispute/withdraw/", review_views.withdraw, name="dispute_withdraw"),
    path("analyses/<uuid:analysis_id>/consent/", review_views.consent, name="consent"),
    path("accounts/storage/", retention_views.storage, name="storage"),
    path("privacy/", retention_views.privacy, name="privacy"),
    path("model/", views.model, name="model"),
    path("model/plots/<slug:name>.svg", views.model_plot, name="model_plot"),
    path("accounts/data/", privacy_views.download_archive, name="archive"),
    path("accounts/delete/", privacy_views.account_delete, name="account_delete"),
    path("accounts/webhooks/", webhook_views.webhook_list, name="webhook_list"),
    path("accounts/webhooks/callback-secret/", webhook_views.callback_secret, name="callback_secret"),
    path("accounts/webhooks/deliveries/", webhook_views.delivery_list, name="delivery_list"),
    path("accounts/webhooks/deliveries/<uuid:delivery_id>/redeliver/", webhook_views.redeliver, name="redeliver"),
    path("accounts/webhooks/<uuid:webhook_id>/", webhook_views.webhook_detail, name="webhook_detail"),
    path("accounts/webhooks/<uuid:webhook_id>/pause/", webhook_views.webhook_pause, name="webhook_pause"),
    path("accounts/webhooks/<uuid:webhook_id>/resume/", webhook_views.webhook_resume, name="webhook_resume"),
    path("accounts/webhooks/<uuid:webhook_id>/rotate/", webhook_views.webhook_rotate, name="webhook_rotate"),
    path("accounts/webhooks/<uuid:webhook_id>/delete/", webhook_views.webhook_delete, name="webhook_delete"),
    path("media/<uuid:analysis_id>/<path:name>", views.file, name="file"),
]
