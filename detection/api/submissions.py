"""What a request that brings a file asks for besides, and how it is answered: for ``/api/v1/analyses/`` and
``/predict``."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from detection import idempotency, open_access, retention, services
from detection.engine.types import Mode
from detection.forms import SubmitForm
from detection.models import Analysis
from detection.problems import Refused
from detection.review import services as review
from detection.validators import AcceptedUpload
from detection.webhooks import outbox

LONGEST_WAIT = 30  # seconds; proxies and clients commonly give up after a minute


@dataclass(frozen=True, slots=True)
class Submission:
    """A file that keeps the rules, with all that was said about it."""

    user: User
    upload: AcceptedUpload
    mode: Mode
    external_id: str
    callback_url: str
    force: bool
    retain_seconds: int | None
    consent: bool
    key: str  # Idempotency-Key

    @classmethod
    def of(cls, request: Request, user: User) -> Submission:
        """Raises Refused."""
        if len(request.FILES.getlist("file")) > 1:
            raise Refused("invalid_request", _("Send one file per request."))
        form = SubmitForm(request.POST, request.FILES)
        if not form.is_valid():
            raise Refused(*form.first_error())
        wanted = form.cleaned_data
        # Many strangers share the open account: none of them gets another one's results or answers.
        shared = user.email == open_access.EMAIL
        return cls(
            user=user,
            upload=wanted["file"][0],
            mode=wanted["mode"],
            external_id=wanted["external_id"],
            callback_url="" if shared else wanted["callback_url"],
            force=shared or wanted["force"],
            retain_seconds=None if shared else wanted["retain_seconds"],
            consent=False if shared else wanted["consent"],
            key="" if shared else request.headers.get("Idempotency-Key", ""),
        )

    def fingerprint(self, path: str) -> str:
        """Of the whole request, if it has a key: where to, which file, what for.

        ``Prefer`` is not part of it: it changes how one waits, not what is done.
        """
        if not self.key:
            return ""
        return idempotency.fingerprint(
            path=path,
            sha256=services.sha256_of(self.upload),
            name=self.upload.name,
            # Left out where it says nothing new: a key from before there were modes is still the same request's.
            **({} if self.mode is Mode.STANDARD else {"mode": self.mode}),
            external_id=self.external_id,
            callback_url=self.callback_url,
            force=self.force,
            retain_seconds=self.retain_seconds,
            consent=self.consent,
        )

    def submit(self) -> tuple[Analysis, bool]:
        """The analysis, and whether it is an earlier one that has answered the question already."""
        if not self.force:
            found = services.earlier_result(
                user=self.user, upload=self.upload, mode=self.mode, external_id=self.external_id
            )
            if found is not None:
                if self.consent:
                    review.set_consent(analysis=found, given=True)
                self._keep(found)
                if self.callback_url:
                    outbox.call_back(found, self.callback_url)
                return found, True
        analysis = services.submit(
            user=self.user,
            upload=self.upload,
            mode=self.mode,
            external_id=self.external_id,
            callback_url=self.callback_url,
            keep_seconds=self.retain_seconds,
            consent=self.consent,
        )
        return analysis, False

    def _keep(self, found: Analysis) -> None:
        """What was said about the file holds for the one that was sent before, if it is still there."""
        if self.retain_seconds is None:
            return
        try:
            retention.keep_for(found.upload, self.retain_seconds)
        except Refused as refused:
            if refused.code != "media_deleted":
                raise


def preferred_wait(request: Request) -> int | None:
    """Seconds of ``Prefer: wait=N`` (RFC 7240), at most ``LONGEST_WAIT``; None if nothing intelligible was said."""
    for preference in request.headers.get("Prefer", "").split(","):
        match = re.fullmatch(r'\s*wait\s*=\s*"?(\d{1,6})"?\s*(;.*)?', preference, flags=re.IGNORECASE)
        if match:
            return min(int(match[1]), LONGEST_WAIT)
    return None


class TakesFiles(APIView):
    """A view that takes a file, has it analysed and, if it may, waits for the result."""

    @abstractmethod
    def answer(self, request: Request, analysis: Analysis, *, reused: bool) -> tuple[int, dict[str, Any]]:
        """Status and body about the analysis as it is now: 202 while it is not finished."""

    def take(self, request: Request, submission: Submission, *, wait: int) -> Response:
        """Do what was asked for, or say again what was said before under the same key. Raises Refused."""
        print_ = submission.fingerprint(request.get_full_path())
        with idempotency.attempt(user=submission.user, key=submission.key, print_=print_) as attempt:
            if attempt.earlier is not None:
                status, body = attempt.earlier
                return _respond(status, body, {"Idempotent-Replayed": "true"})
            analysis, reused = submission.submit()
            status, body = self.answer(request, analysis, reused=reused)
            # Before the wait: a client that loses patience and asks again learns where to look.
            attempt.answered(status, body)
            if services.wait_until_ended(analysis=analysis, seconds=wait) and status == HTTPStatus.ACCEPTED:
                status, body = self.answer(request, analysis, reused=reused)
                attempt.answered(status, body)
        preferred = preferred_wait(request)
        return _respond(status, body, {} if preferred is None else {"Preference-Applied": f"wait={preferred}"})


def _respond(status: int, body: dict[str, Any], headers: dict[str, str]) -> Response:
    headers = {"Location": body["poll_url"], **headers}
    if status == HTTPStatus.ACCEPTED:
        headers["Retry-After"] = str(min(LONGEST_WAIT, math.ceil(body.get("eta_seconds") or 1)))
    return Response(body, status=status, headers=headers)
