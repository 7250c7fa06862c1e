"""What is stored. Everything is imported from here; the files only keep apart what is read apart."""

from detection.models.analysis import (
    LABELS,
    Analysis,
    AnalysisQuerySet,
    FaceScore,
    FaceTrack,
    Upload,
    UploadQuerySet,
    choices,
    upload_path,
)
from detection.models.programs import DailyUse, IdempotentRequest
from detection.models.webhooks import (
    CallbackKey,
    SigningKey,
    WebhookDelivery,
    WebhookDeliveryQuerySet,
    WebhookEndpoint,
    WebhookEndpointQuerySet,
    WebhookEvent,
    all_events,
    new_secret,
)

__all__ = [
    "LABELS",
    "Analysis",
    "AnalysisQuerySet",
    "CallbackKey",
    "DailyUse",
    "FaceScore",
    "FaceTrack",
    "IdempotentRequest",
    "SigningKey",
    "Upload",
    "UploadQuerySet",
    "WebhookDelivery",
    "WebhookDeliveryQuerySet",
    "WebhookEndpoint",
    "WebhookEndpointQuerySet",
    "WebhookEvent",
    "all_events",
    "choices",
    "new_secret",
    "upload_path",
]
