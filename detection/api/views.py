"""The API, version 1: analyses."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpResponse, JsonResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detection import reports, selectors, services
from detection.api import schema
from detection.api.pagination import NewestFirst
from detection.api.serializers import (
    AnalysisAnswerSerializer,
    AnalysisSerializer,
    PageSerializer,
    ReportSerializer,
    RetrySerializer,
    SubmissionSerializer,
    SubmittedSerializer,
)
from detection.api.submissions import Submission, TakesFiles, preferred_wait
from detection.api.throttling import TokenRequests, Uploads
from detection.forms import ApiHistoryForm
from detection.models import Analysis
from detection.problems import Refused
from detection.reports.pdf import report_pdf


class AnalysisList(TakesFiles):
    """The caller's analyses."""

    throttle_classes = (TokenRequests, Uploads)

    @extend_schema(
        operation_id="analyses_list",
        summary="List one's analyses, newest first",
        parameters=schema.FILTERS,
        responses={200: schema.answered(PageSerializer), **schema.refusals(400, 404)},
        tags=["analyses"],
    )
    def get(self, request: Request) -> Response:
        """Filter by verdict, status, kind, day and `external_id`; search a file's name. Pages are linked by cursors."""
        form = ApiHistoryForm(request.query_params)
        if not form.is_valid():
            name, errors = next(iter(form.errors.items()))
            raise Refused("invalid_request", f"{name}: {errors[0]}")
        pages = NewestFirst()
        page = pages.paginate_queryset(selectors.history(request.user, form.wanted()), request, view=self)
        return pages.get_paginated_response([reports.analysis_summary(analysis) for analysis in page or []])

    @extend_schema(
        operation_id="analyses_create",
        summary="Send a file to be analysed",
        request={"multipart/form-data": SubmissionSerializer},
        parameters=[schema.PREFER, schema.IDEMPOTENCY_KEY],
        responses={
            202: schema.answered(SubmittedSerializer, "Taken; follow it by `poll_url` or `ws_url`."),
            200: schema.answered(
                AnalysisAnswerSerializer,
                "Finished within the wait, or found before in the same bytes by the same model (`reused`).",
            ),
            **schema.refusals(400, 409, 413, 415, 507),
        },
        tags=["analyses"],
    )
    def post(self, request: Request) -> Response:
        """Answers at once, unless asked to wait. The same bytes are not analysed twice by the same model in the same
        `mode`, unless `force` says so; they are if `external_id` is another one than before."""
        assert request.user.is_authenticated
        return self.take(request, Submission.of(request, request.user), wait=preferred_wait(request) or 0)

    def answer(self, request: Request, analysis: Analysis, *, reused: bool) -> tuple[int, dict[str, Any]]:
        body = reports.submitted(analysis, request.build_absolute_uri, reused=reused)
        if analysis.is_active:
            return status.HTTP_202_ACCEPTED, body
        return status.HTTP_200_OK, {**body, **reports.analysis_payload(analysis)}


class AnalysisDetail(APIView):
    """One analysis."""

    @extend_schema(
        operation_id="analyses_retrieve",
        summary="Read an analysis",
        responses={200: schema.answered(AnalysisSerializer), **schema.refusals(404)},
        tags=["analyses"],
    )
    def get(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """How far it is and, once it has succeeded, all that was found, face by face."""
        return Response(reports.analysis_payload(selectors.get_analysis(request.user, analysis_id)))

    @extend_schema(
        operation_id="analyses_delete",
        summary="Delete an analysis",
        responses={204: None, **schema.refusals(404)},
        tags=["analyses"],
    )
    def delete(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """With its pictures, and with the file once no other analysis needs it. One that runs is stopped."""
        services.delete(analysis=selectors.get_analysis(request.user, analysis_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class AnalysisCancel(APIView):
    """Stop it."""

    @extend_schema(
        operation_id="analyses_cancel",
        summary="Cancel an analysis",
        request=None,
        responses={200: schema.answered(AnalysisSerializer), **schema.refusals(404, 409)},
        tags=["analyses"],
    )
    def post(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """One that waits or runs; any other is a `conflict`."""
        analysis = selectors.get_analysis(request.user, analysis_id)
        services.cancel(analysis=analysis)
        return Response(reports.analysis_payload(analysis))


class AnalysisRetry(APIView):
    """Begin it anew."""

    throttle_classes = (TokenRequests, Uploads)

    @extend_schema(
        operation_id="analyses_retry",
        summary="Analyse the same file anew",
        request=RetrySerializer,
        responses={202: schema.answered(AnalysisSerializer), **schema.refusals(404, 409, 410)},
        tags=["analyses"],
    )
    def post(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """One that has ended, in whatever way; what was found before is replaced. With `mode` another one than before:
        what people decided stays in force, as for any new run by the same model."""
        analysis = selectors.get_analysis(request.user, analysis_id)
        wanted = RetrySerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.retry(analysis=analysis, mode=wanted.validated_data.get("mode"))
        fresh = selectors.get_analysis(request.user, analysis_id)
        return Response(reports.analysis_payload(fresh), status=status.HTTP_202_ACCEPTED)


class AnalysisReport(APIView):
    """What was found, as a file to keep: of an analysis that succeeded or failed."""

    def find(self, request: Request, analysis_id: uuid.UUID) -> Analysis:
        analysis = selectors.get_analysis(request.user, analysis_id)
        if analysis.status not in (Analysis.Status.SUCCEEDED, Analysis.Status.FAILED):
            raise Refused("conflict", _("There is no report yet: the analysis has no outcome."))
        return analysis

    @staticmethod
    def file(response: HttpResponse, analysis: Analysis, extension: str) -> HttpResponse:
        name = reports.report_name(analysis, extension)
        response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name) or "attachment"
        response["Cache-Control"] = "private, no-store"
        return response


class AnalysisReportPdf(AnalysisReport):
    @extend_schema(
        operation_id="analyses_report_pdf",
        summary="The report for people, as PDF",
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, **schema.refusals(404, 409)},
        tags=["analyses"],
    )
    def get(self, request: Request, analysis_id: uuid.UUID) -> HttpResponse:
        """Of an analysis that succeeded or failed; any other is a `conflict`."""
        analysis = self.find(request, analysis_id)
        return self.file(HttpResponse(report_pdf(analysis), content_type="application/pdf"), analysis, "pdf")


class AnalysisReportJson(AnalysisReport):
    @extend_schema(
        operation_id="analyses_report_json",
        summary="The report for machines, as JSON",
        responses={200: ReportSerializer, **schema.refusals(404, 409)},
        tags=["analyses"],
    )
    def get(self, request: Request, analysis_id: uuid.UUID) -> HttpResponse:
        """Of an analysis that succeeded or failed; any other is a `conflict`."""
        analysis = self.find(request, analysis_id)
        response = JsonResponse(reports.report_json(analysis), json_dumps_params={"indent": 2})
        return self.file(response, analysis, "json")
