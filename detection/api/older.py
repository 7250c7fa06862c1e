"""The contract of the five older servers: ``/predict``, ``/health/``, ``/ready/`` at the root of the site."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from detection import open_access, readiness, selectors
from detection.api import schema
from detection.api.serializers import (
    HealthSerializer,
    PredictionSerializer,
    ProcessingSerializer,
    ReadySerializer,
    SubmissionSerializer,
)
from detection.api.submissions import Submission, TakesFiles, preferred_wait
from detection.api.throttling import TokenRequests, Uploads
from detection.models import Analysis
from detection.problems import Refused
from detection.reports import older

ANSWERS = {
    200: schema.answered(PredictionSerializer, "Finished."),
    202: schema.answered(ProcessingSerializer, "It takes longer; ask `poll_url`."),
}


class MayPredict(BasePermission):
    """Everybody who is signed in, and everybody else where the site's owner wants that."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        del view
        return bool(request.user.is_authenticated or settings.OPEN_PREDICT)


def answer(request: Request, analysis: Analysis) -> tuple[int, dict[str, Any]]:
    """Status and body in the older servers' words. Raises Refused for an analysis that ended without a result."""
    if analysis.is_active:
        return status.HTTP_202_ACCEPTED, older.processing(analysis, request.build_absolute_uri)
    if analysis.status == Analysis.Status.CANCELLED:
        raise Refused("conflict", _("The analysis was cancelled."))
    if analysis.status == Analysis.Status.FAILED:
        raise Refused("analysis_failed", analysis.error_message, more={"error": analysis.error})
    fake = "Fake" if request.query_params.get("labels", "").lower() == "fake" else "Deepfake"
    return status.HTTP_200_OK, older.prediction(analysis, request.build_absolute_uri, fake=fake)


class Predict(TakesFiles):
    """A file in, a verdict out."""

    permission_classes = (MayPredict,)
    throttle_classes = (TokenRequests, Uploads)

    @extend_schema(
        operation_id="predict",
        summary="Send a file and wait for the verdict",
        request={"multipart/form-data": SubmissionSerializer},
        parameters=[schema.LABELS, schema.PREFER, schema.IDEMPOTENCY_KEY],
        responses={**ANSWERS, **schema.refusals(400, 409, 413, 415, 422, 507)},
        tags=["older servers"],
    )
    def post(self, request: Request) -> Response:
        """The union of the five older servers' answers. `deepfake_ratio` counts frames over the threshold, so it may be
        0 where `prediction` speaks of weaker signs; `Inconclusive` is neither of the two old words, on purpose."""
        user = request.user if isinstance(request.user, User) else open_access.open_user()
        wait = preferred_wait(request)
        seconds = settings.PREDICT_SECONDS if wait is None else wait
        return self.take(request, Submission.of(request, user), wait=seconds)

    def answer(self, request: Request, analysis: Analysis, *, reused: bool) -> tuple[int, dict[str, Any]]:
        del reused
        return answer(request, analysis)


class PredictResult(APIView):
    """What became of a file that took longer."""

    permission_classes = (MayPredict,)

    @extend_schema(
        operation_id="predict_result",
        summary="Ask again for the verdict",
        parameters=[schema.LABELS, schema.KEY],
        responses={**ANSWERS, **schema.refusals(404, 409, 422)},
        tags=["older servers"],
    )
    def get(self, request: Request, analysis_id: uuid.UUID) -> Response:
        """By the `poll_url` that was answered; where one is not signed in, that address holds a key for an hour."""
        if isinstance(request.user, User):
            analysis = selectors.get_analysis(request.user, analysis_id)
        else:
            analysis = open_access.get_analysis(analysis_id, request.query_params.get("key", ""))
        code, body = answer(request, analysis)
        return Response(body, status=code, headers={"Retry-After": "1"} if code == status.HTTP_202_ACCEPTED else {})


class Health(APIView):
    """Liveness."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="health",
        summary="Does it live?",
        responses={200: schema.answered(HealthSerializer)},
        tags=["service"],
    )
    def get(self, request: Request) -> Response:
        """This process answers. Also `GET /` with `Accept: application/json`."""
        del request
        return Response(readiness.alive(), headers={"Cache-Control": "no-store"})


class Ready(APIView):
    """Readiness."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="ready",
        summary="Can it work?",
        responses={200: schema.answered(ReadySerializer), **schema.refusals(503)},
        tags=["service"],
    )
    def get(self, request: Request) -> Response:
        """Database, broker and model, each `ok` or `failed`."""
        del request
        checks = readiness.checks()
        if "failed" in checks.values():
            raise Refused("not_ready", _("Something that analyses need is missing."), more={"checks": checks})
        return Response({"status": "ready", "checks": checks}, headers={"Cache-Control": "no-store"})
