"""The API, version 1: who one is, what one may still do, one's tokens, and the models."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import preferences, sessions, tokens
from accounts.models import ApiToken
from accounts.roles import role_of
from detection import quota, retention, selectors, serving
from detection.api import schema
from detection.api.serializers import (
    MeSerializer,
    ModelSerializer,
    NewTokenSerializer,
    PreferencesSerializer,
    TokenRequestSerializer,
    TokenSerializer,
    UsageSerializer,
)
from detection.problems import Refused
from detection.reports import card


class Me(APIView):
    """The caller."""

    @extend_schema(operation_id="me", summary="Who one is", responses={200: MeSerializer}, tags=["account"])
    def get(self, request: Request) -> Response:
        """The account, and the token with which one came, if it was one."""
        return Response(self._body(request))

    @extend_schema(
        operation_id="me_change",
        summary="Change language, theme or what is told by e-mail",
        request=PreferencesSerializer,
        responses={200: MeSerializer, **schema.refusals(400, 415)},
        tags=["account"],
    )
    def patch(self, request: Request) -> Response:
        """What is not named stays as it is."""
        assert request.user.is_authenticated
        wanted = PreferencesSerializer(request.user, data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        preferences.change(request.user, **wanted.validated_data)
        return Response(self._body(request))

    @staticmethod
    def _body(request: Request) -> dict[str, Any]:
        assert request.user.is_authenticated
        token = request.auth if isinstance(request.auth, ApiToken) else None
        facts = {
            "user": request.user,
            "role": role_of(request.user),
            "second_factor": is_mfa_enabled(request.user, types=["totp"]),
            "token": token,
        }
        return dict(MeSerializer(facts).data)


class Usage(APIView):
    """What the caller has used."""

    @extend_schema(
        operation_id="usage",
        summary="What one may still do",
        responses={200: schema.answered(UsageSerializer)},
        tags=["account"],
    )
    def get(self, request: Request) -> Response:
        """Limits as `number/period` (s, m, h, d); null for none. A day is one in UTC."""
        assert request.user.is_authenticated
        used, limit = quota.used_today(request.user), settings.DAILY_QUOTA or None
        stored, room = quota.stored(request.user), settings.STORAGE_BYTES or None
        counts = selectors.counts_of(request.user)
        body = {
            "today": {
                "analyses": used,
                "limit": limit,
                "remaining": None if limit is None else max(0, limit - used),
                "resets_at": quota.midnight().isoformat(),
            },
            "limits": {group: rates["user"] for group, rates in settings.RATE_LIMITS.items()},
            "stored": {
                **stored,
                "limit": room,
                "remaining": None if room is None else max(0, room - stored["bytes"]),
                "retain_seconds": retention.usual(request.user),
            },
            "analyses": {"total": counts.total, "by_status": counts.by_status, "by_verdict": counts.by_verdict},
        }
        return Response(body)


class ModelList(APIView):
    """What judges."""

    @extend_schema(
        operation_id="models_list",
        summary="The registered models",
        responses={200: ModelSerializer(many=True)},
        tags=["models"],
    )
    def get(self, request: Request) -> Response:
        """`served` is the one that judges new files; while none can, none is.

        A score of `thresholds` and more gets that verdict.
        """
        del request
        served = serving.served_if_any()
        return Response(
            [
                {
                    "name": spec.name,
                    "version": spec.version,
                    "sha256": spec.sha256,
                    "served": spec == served,
                    "measured": card.is_measured(spec),
                    "architecture": spec.architecture,
                    "input_size": spec.input_size,
                    "thresholds": card.thresholds(spec),
                    "data": list(spec.data),
                    "licence": spec.licence,
                }
                for spec in serving.readable_models()
            ]
        )


class TokenList(APIView):
    """The caller's tokens."""

    @extend_schema(
        operation_id="tokens_list",
        summary="List one's tokens",
        responses={200: TokenSerializer(many=True)},
        tags=["account"],
    )
    def get(self, request: Request) -> Response:
        """Without their keys, which nobody can read again."""
        return Response(TokenSerializer(ApiToken.objects.filter(user=request.user.pk), many=True).data)

    @extend_schema(
        operation_id="tokens_create",
        summary="Make a token",
        request=TokenRequestSerializer,
        responses={201: NewTokenSerializer, **schema.refusals(400, 403, 409, 415)},
        tags=["account"],
    )
    def post(self, request: Request) -> Response:
        """`key` is in this answer only. What is made with a token does not outlive that token.

        A browser's session may make one for five minutes after its sign-in.
        """
        maker = request.auth if isinstance(request.auth, ApiToken) else None
        if maker is None and not sessions.proved_recently(request._request):
            raise Refused("permission_denied", _("You signed in too long ago to make a token. Sign in again."))
        wanted = TokenRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        days = wanted.validated_data["expires_in_days"]
        assert request.user.is_authenticated
        try:
            token, key = tokens.issue(
                user=request.user,
                name=wanted.validated_data["name"],
                lifetime=None if days is None else timedelta(days=days),
                maker=maker,
            )
        except tokens.TooManyTokens:
            raise Refused("conflict", _("There are too many tokens. Revoke one that is not used any more.")) from None
        body = {**TokenSerializer(token).data, "key": key}
        return Response(body, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class TokenDetail(APIView):
    """One token."""

    @extend_schema(
        operation_id="tokens_revoke",
        summary="Revoke a token",
        responses={204: None, **schema.refusals(404)},
        tags=["account"],
    )
    def delete(self, request: Request, public_id: uuid.UUID) -> Response:
        """At once, also the one that asks."""
        assert request.user.is_authenticated
        if not tokens.revoke(user=request.user, public_id=public_id):
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)
