"""Addresses at the root of the site that answer programs."""

from __future__ import annotations

from django.urls import path

from detection.api import docs, older

urlpatterns = [
    path("predict", older.Predict.as_view(), name="predict"),
    # A POST cannot be redirected to the address without its slash; described once is enough.
    path("predict/", older.Predict.as_view(schema=None), name="predict-slash"),
    path("predict/<uuid:analysis_id>/", older.PredictResult.as_view(), name="predict-result"),
    path("health/", older.Health.as_view(), name="health"),
    path("ready/", older.Ready.as_view(), name="ready"),
    path("api/schema/", docs.Schema.as_view(), name="schema"),
    path("api/docs/", docs.Docs.as_view(), name="docs"),
]
