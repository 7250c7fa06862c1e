"""Addresses of WebSockets."""

from __future__ import annotations

from django.urls import path, re_path

from detection.consumers import AnalysisConsumer, NotFoundConsumer

websocket_urlpatterns = [
    path("ws/analyses/<uuid:analysis_id>/", AnalysisConsumer.as_asgi(), name="ws-analysis"),
    re_path(r"", NotFoundConsumer.as_asgi()),
]
