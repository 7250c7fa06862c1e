"""The API, version 1."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.http import HttpResponse, JsonResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detection import reports, selectors, services
from detection.forms import HistoryForm, UploadForm
from detection.models import Analysis
from detection.problems import Refused
from detection.reports.pdf import report_pdf


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
        """Filter by ``verdict``, ``status``, ``kind``, ``since`` and ``until`` (days), search a name by ``search``."""
        form = HistoryForm(request.query_params)
        if not form.is_valid():
            name, errors = next(iter(form.errors.items()))
            raise Refused("invalid_request", f"{name}: {errors[0]}")
        pages = NewestFirst()
        page = pages.paginate_queryset(selectors.history(request.user, form.wanted()), request, view=self)
        return pages.get_paginated_response([reports.analysis_summary(analysis) for analysis in page or []])

    def post(self, request: Request) -> Response:
        """Submit the form field ``file``; 202 says where to follow the analysis."""
        if len(request.FILES.getlist("file")) > 1:
            raise Refused("invalid_request", _("Send one file per request."))
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


class OurFormat(BaseContentNegotiation):
    """A report comes in the format that its address names, whatever the client says that it likes."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:
        del request
        return parsers[0] if parsers else None

    def select_renderer(
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        del request, format_suffix
        return renderers[0], renderers[0].media_type or ""


class AnalysisReport(APIView):
    """What was found, as a file to keep: of an analysis that succeeded or failed."""

    content_negotiation_class = OurFormat

    def get(self, request: Request, analysis_id: uuid.UUID, extension: str) -> HttpResponse:
        analysis = selectors.get_analysis(request.user, analysis_id)
        if analysis.status not in (Analysis.Status.SUCCEEDED, Analysis.Status.FAILED):
            raise Refused("conflict", _("There is no report yet: the analysis has no outcome."))
        if extension == "pdf":
            response = HttpResponse(report_pdf(analysis), content_type="application/pdf")
        else:
            response = JsonResponse(reports.report_json(analysis), json_dumps_params={"indent": 2})
        name = reports.report_name(analysis, extension)
        response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name) or "attachment"
        response["Cache-Control"] = "private, no-store"
        return response
