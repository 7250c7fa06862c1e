"""The API, version 1: what a user says about a result."""

from __future__ import annotations

import uuid

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detection import reports, selectors
from detection.api import schema
from detection.api.serializers import AnalysisSerializer, ConsentSerializer, DisputeRequestSerializer
from detection.api.throttling import TokenRequests, Uploads
from detection.review import services


class AnalysisDispute(APIView):
    """Objecting to a result."""

    throttle_classes = (TokenRequests, Uploads)

    @extend_schema(
        operation_id="analyses_dispute",
        summary="Say that a result is wrong",
        request=DisputeRequestSerializer,
        responses={201: schema.answered(AnalysisSerializer), **schema.refusals(400, 404, 409, 415)},
        tags=["analyses"],
    )
    def post(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """Reviewers look at it, two at least; `dispute` says what came of it. Each result once, else `conflict`."""
        analysis = selectors.get_analysis(request.user, analysis_id)
        said = DisputeRequestSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        services.dispute(analysis=analysis, **said.validated_data)
        fresh = selectors.get_analysis(request.user, analysis_id)
        return Response(reports.analysis_payload(fresh), status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="analyses_dispute_withdraw",
        summary="Take a dispute back",
        responses={204: None, **schema.refusals(404, 409)},
        tags=["analyses"],
    )
    def delete(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """While it is open; else `conflict`."""
        services.withdraw(analysis=selectors.get_analysis(request.user, analysis_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class AnalysisConsent(APIView):
    """Whether a file may be used."""

    throttle_classes = (TokenRequests, Uploads)

    @extend_schema(
        operation_id="analyses_consent",
        summary="Allow or forbid that the file is used to improve the detector",
        request=ConsentSerializer,
        responses={200: schema.answered(AnalysisSerializer), **schema.refusals(400, 404, 415)},
        tags=["analyses"],
    )
    def put(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """Forbidden unless you allow it. What was exported before is not called back."""
        analysis = selectors.get_analysis(request.user, analysis_id)
        wanted = ConsentSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.set_consent(analysis=analysis, given=wanted.validated_data["consent"])
        return Response(reports.analysis_payload(selectors.get_analysis(request.user, analysis_id)))
