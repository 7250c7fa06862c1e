"""The API, version 1."""

from __future__ import annotations

import uuid
from datetime import datetime

from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detection import reports, selectors, services
from detection.forms import UploadForm
from detection.problems import Refused


class NewestFirst(CursorPagination):
    """Pages that stay put while new analyses arrive."""

    ordering = "-created_at"
    page_size = 20

    def decode_cursor(self, request: Request) -> Cursor | None:
        """The place to go on from. Raises NotFound; the original lets a position that is no time become a 500."""
        cursor: Cursor | None = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                datetime.fromisoformat(cursor.position)
            except ValueError:
                raise NotFound(self.invalid_cursor_message) from None
        return cursor


class AnalysisList(APIView):
    """The caller's analyses."""

    def get(self, request: Request) -> Response:
        pages = NewestFirst()
        page = pages.paginate_queryset(selectors.analyses_of(request.user), request, view=self)
        return pages.get_paginated_response([reports.analysis_summary(analysis) for analysis in page or []])

    def post(self, request: Request) -> Response:
        """Submit the form field ``file``; 202 says where to follow the analysis."""
        if len(request.FILES.getlist("file")) > 1:
            raise Refused("invalid_request", "Send one file per request.")
        form = UploadForm(request.POST, request.FILES)
        if not form.is_valid():
            raise Refused(*form.first_error())
        assert request.user.is_authenticated
        analysis = services.submit(user=request.user, upload=form.cleaned_data["file"][0])
        body = reports.submitted(analysis, request.build_absolute_uri)
        return Response(body, status=status.HTTP_202_ACCEPTED, headers={"Location": body["poll_url"]})


class AnalysisDetail(APIView):
    """One analysis."""

    def get(self, request: Request, analysis_id: uuid.UUID) -> Response:
        return Response(reports.analysis_payload(selectors.get_analysis(request.user, analysis_id)))

    def delete(self, request: Request, analysis_id: uuid.UUID) -> Response:
        services.delete(analysis=selectors.get_analysis(request.user, analysis_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class AnalysisCancel(APIView):
    def post(self, request: Request, analysis_id: uuid.UUID) -> Response:
        analysis = selectors.get_analysis(request.user, analysis_id)
        services.cancel(analysis=analysis)
        return Response(reports.analysis_payload(analysis))


class AnalysisRetry(APIView):
    def post(self, request: Request, analysis_id: uuid.UUID) -> Response:
        services.retry(analysis=selectors.get_analysis(request.user, analysis_id))
        fresh = selectors.get_analysis(request.user, analysis_id)
        return Response(reports.analysis_payload(fresh), status=status.HTTP_202_ACCEPTED)
