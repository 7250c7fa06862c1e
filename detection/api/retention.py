"""The API, version 1: what is kept for how long, and what was deleted."""

from __future__ import annotations

import uuid

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detection import reports, retention, selectors
from detection.api import schema
from detection.api.pagination import NewestFirst
from detection.api.serializers import (
    AnalysisSerializer,
    DeletionPageSerializer,
    DeletionSerializer,
    RetainSerializer,
)
from detection.models import DeletionReceipt


class AnalysisMedia(APIView):
    """The file of an analysis."""

    @extend_schema(
        operation_id="analyses_media_keep",
        summary="Keep the file for longer or shorter",
        request=RetainSerializer,
        responses={200: schema.answered(AnalysisSerializer), **schema.refusals(400, 404, 410, 415)},
        tags=["analyses"],
    )
    def patch(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """Counted from the result: when that time has passed already, the file goes at once."""
        analysis = selectors.get_analysis(request.user, analysis_id)
        wanted = RetainSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        retention.keep_for(analysis.upload, wanted.validated_data["retain_seconds"])
        return Response(reports.analysis_payload(analysis))

    @extend_schema(
        operation_id="analyses_media_delete",
        summary="Delete the file, keep the result",
        responses={204: None, **schema.refusals(404, 409, 410)},
        tags=["analyses"],
    )
    def delete(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """At once; `conflict` while the file is analysed. `GET /api/v1/deletions/` has the receipt."""
        assert request.user.is_authenticated
        retention.end_now(selectors.get_analysis(request.user, analysis_id), by=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class LatestFirst(NewestFirst):
    ordering = "-deleted_at"


class DeletionList(APIView):
    """Receipts."""

    @extend_schema(
        operation_id="deletions_list",
        summary="What was deleted, the latest first",
        parameters=[schema.CURSOR],
        responses={200: schema.answered(DeletionPageSerializer), **schema.refusals(404)},
        tags=["account"],
    )
    def get(self, request: Request) -> Response:
        """Which bytes, when and why; without names. `upload_id` tells which receipts belong together."""
        pages = LatestFirst()
        page = pages.paginate_queryset(DeletionReceipt.objects.visible_to(request.user), request, view=self)
        return pages.get_paginated_response(DeletionSerializer(page, many=True).data)
