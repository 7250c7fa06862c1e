"""The API, version 1: addresses that hear of every analysis, and the log of what was sent."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detection import selectors
from detection.api import schema
from detection.api.pagination import NewestFirst
from detection.api.throttling import TokenRequests, Uploads
from detection.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from detection.webhooks import endpoints

TAGS = ["webhooks"]
NO_STORE = {"Cache-Control": "no-store"}


class WebhookSerializer(serializers.ModelSerializer):
    """A webhook. Its secret is only ever shown when it is new."""

    url = serializers.CharField(max_length=2000, help_text="Public, http or https; port 80, 443 or above 1023.")
    events = serializers.ListField(
        child=serializers.ChoiceField(WebhookEvent.Type.choices),
        min_length=1,
        max_length=len(WebhookEvent.Type),
        default=list(WebhookEvent.Type.values),
    )
    paused = serializers.SerializerMethodField()
    pause_reason = serializers.ChoiceField(
        choices=WebhookEndpoint.PauseReason.choices, allow_blank=True, read_only=True
    )

    class Meta:
        model = WebhookEndpoint
        fields: tuple[str, ...] = ("id", "url", "events", "paused", "paused_at", "pause_reason", "created_at")
        read_only_fields = ("paused_at", "created_at")

    def get_paused(self, endpoint: WebhookEndpoint) -> bool:
        return endpoint.paused_at is not None


class NewWebhookSerializer(WebhookSerializer):
    """The same with its secret, once."""

    secret = serializers.CharField(read_only=True, help_text="`whsec_` and base64. Shown only here.")

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "secret")


class SecretSerializer(serializers.Serializer):
    secret = serializers.CharField(read_only=True, help_text="`whsec_` and base64. Shown only here.")


class DeliverySerializer(serializers.ModelSerializer):
    """One event on its way to one address."""

    event_id = serializers.UUIDField(source="event.pk", read_only=True, help_text="The header `webhook-id`.")
    type = serializers.ChoiceField(source="event.type", choices=WebhookEvent.Type.choices, read_only=True)
    analysis = serializers.UUIDField(
        source="event.analysis_id", read_only=True, allow_null=True, help_text="null: it was deleted."
    )
    webhook = serializers.UUIDField(
        source="endpoint_id", read_only=True, allow_null=True, help_text="null: it went to a `callback_url`."
    )

    class Meta:
        model = WebhookDelivery
        fields = (
            "id",
            "event_id",
            "type",
            "analysis",
            "webhook",
            "url",
            "status",
            "attempts",
            "next_try_at",
            "answer_code",
            "note",
            "created_at",
            "ended_at",
        )
        read_only_fields = fields


class DeliveryPageSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = DeliverySerializer(many=True)


class WebhookList(APIView):
    """The caller's webhooks."""

    @extend_schema(
        operation_id="webhooks_list",
        summary="List one's webhooks",
        responses={200: WebhookSerializer(many=True)},
        tags=TAGS,
    )
    def get(self, request: Request) -> Response:
        """All of them; there are at most ten."""
        return Response(WebhookSerializer(WebhookEndpoint.objects.visible_to(request.user), many=True).data)

    @extend_schema(
        operation_id="webhooks_create",
        summary="Add a webhook",
        request=WebhookSerializer,
        responses={201: NewWebhookSerializer, **schema.refusals(400, 409, 415)},
        tags=TAGS,
    )
    def post(self, request: Request) -> Response:
        """The answer shows its secret, this once. Without `events` it hears of all."""
        asked = WebhookSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        assert request.user.is_authenticated
        endpoint = endpoints.create(user=request.user, **asked.validated_data)
        return Response(NewWebhookSerializer(endpoint).data, status=status.HTTP_201_CREATED, headers=NO_STORE)


class WebhookDetail(APIView):
    """One webhook."""

    @extend_schema(
        operation_id="webhooks_retrieve",
        summary="Read a webhook",
        responses={200: WebhookSerializer, **schema.refusals(404)},
        tags=TAGS,
    )
    def get(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """Whether it is paused, and why."""
        return Response(WebhookSerializer(selectors.get_webhook(request.user, webhook_id)).data)

    @extend_schema(
        operation_id="webhooks_delete",
        summary="Delete a webhook",
        responses={204: None, **schema.refusals(404)},
        tags=TAGS,
    )
    def delete(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """With its log; what it is still owed is not sent."""
        selectors.get_webhook(request.user, webhook_id).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


class WebhookPause(APIView):
    """Stop sending."""

    @extend_schema(
        operation_id="webhooks_pause",
        summary="Pause a webhook",
        request=None,
        responses={200: WebhookSerializer, **schema.refusals(404)},
        tags=TAGS,
    )
    def post(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """It never hears of what ends until it is resumed; what it is owed from before waits."""
        endpoint = selectors.get_webhook(request.user, webhook_id)
        endpoints.pause(endpoint=endpoint)
        return Response(WebhookSerializer(endpoint).data)


class WebhookResume(APIView):
    """Go on."""

    @extend_schema(
        operation_id="webhooks_resume",
        summary="Resume a webhook",
        request=None,
        responses={200: WebhookSerializer, **schema.refusals(404)},
        tags=TAGS,
    )
    def post(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """With what it is owed from before, first."""
        endpoint = selectors.get_webhook(request.user, webhook_id)
        endpoints.resume(endpoint=endpoint)
        return Response(WebhookSerializer(endpoint).data)


class WebhookRotate(APIView):
    """Another secret."""

    @extend_schema(
        operation_id="webhooks_rotate",
        summary="Make a new secret for a webhook",
        request=None,
        responses={200: SecretSerializer, **schema.refusals(404)},
        tags=TAGS,
    )
    def post(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """Shown this once. For a day the old one signs along, so that receivers can change over."""
        endpoint = selectors.get_webhook(request.user, webhook_id)
        return Response({"secret": endpoints.rotate(endpoint=endpoint)}, headers=NO_STORE)


class CallbackSecret(APIView):
    """The secret for callback addresses."""

    @extend_schema(
        operation_id="webhooks_callback_secret",
        summary="Make a new secret for callback addresses",
        request=None,
        responses={200: SecretSerializer},
        tags=TAGS,
    )
    def post(self, request: Request) -> Response:
        """It signs what goes to the `callback_url` of all one's uploads. Shown this once; for a day the old one signs
        along."""
        assert request.user.is_authenticated
        return Response({"secret": endpoints.rotate_callback_key(user=request.user)}, headers=NO_STORE)


class DeliveryList(APIView):
    """The log."""

    @extend_schema(
        operation_id="deliveries_list",
        summary="List what was sent, newest first",
        parameters=[parameter for parameter in schema.FILTERS if parameter.name == "cursor"],
        responses={200: DeliveryPageSerializer, **schema.refusals(404)},
        tags=TAGS,
    )
    def get(self, request: Request) -> Response:
        """To webhooks and callback addresses, in the last 30 days. Pages are linked by cursors."""
        pages = NewestFirst()
        page: list[Any] = pages.paginate_queryset(selectors.deliveries(request.user), request, view=self) or []
        return pages.get_paginated_response(DeliverySerializer(page, many=True).data)


class DeliveryRedeliver(APIView):
    """Once more."""

    throttle_classes = (TokenRequests, Uploads)

    @extend_schema(
        operation_id="deliveries_redeliver",
        summary="Send an event again",
        request=None,
        responses={202: DeliverySerializer, **schema.refusals(404, 409)},
        tags=TAGS,
    )
    def post(self, request: Request, delivery_id: uuid.UUID) -> Response:
        """The same event with the same id, as a delivery of its own. A `conflict` while it is still being tried."""
        delivery = selectors.get_delivery(request.user, delivery_id)
        again = endpoints.redeliver(delivery=delivery)
        return Response(DeliverySerializer(again).data, status=status.HTTP_202_ACCEPTED)
