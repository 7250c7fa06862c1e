"""Webhooks in the admin: to look at."""

from __future__ import annotations

from django.contrib import admin

from detection.admin.readonly import ReadOnly
from detection.models import WebhookDelivery, WebhookEndpoint


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnly, admin.ModelAdmin):
    """Who is told, and who was paused. Its fields leave the secrets out: they are no business of an administrator's."""

    list_display = ("url", "user", "events", "paused_at", "pause_reason", "given_up", "created_at")
    list_filter = ("pause_reason", "created_at")
    search_fields = ("id", "url", "user__email")
    list_select_related = ("user",)
    fields = list_display


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnly, admin.ModelAdmin):
    """What was sent, and what became of it."""

    list_display = ("created_at", "event", "url", "status", "attempts", "answer_code", "next_try_at")
    list_filter = ("status", "answer_code", "created_at")
    search_fields = ("id", "url", "event__id", "event__user__email")
    date_hierarchy = "created_at"
    list_select_related = ("event",)
    fields = (*list_display, "endpoint", "note", "ended_at")
