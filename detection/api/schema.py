"""How the API describes itself (OpenAPI 3): what every operation has in common, and what some of them share."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_bearer_security_scheme_object
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import Direction, OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework.serializers import Serializer

from detection.api.authentication import SessionAuthentication
from detection.api.examples import EXAMPLES
from detection.api.serializers import VERDICTS, ProblemSerializer
from detection.models import Analysis
from detection.problems import PROBLEM_JSON, STATUS_BY_CODE, problem

REQUEST_ID = "0f4d2c9a7b6e4f0c8d5b1a3e7c9f2d60"
WHY = {
    400: "The request cannot be understood, or its file is missing or empty.",
    401: "No token and no session, or a bad token.",
    403: "Not allowed; with a session, the `X-CSRFToken` header is missing.",
    404: "There is no such thing, or it belongs to somebody else.",
    405: "The address exists, the method does not.",
    409: "Not in this state.",
    410: "It was deleted.",
    413: "Too large.",
    415: "A file, or a body, of a type that is not taken.",
    422: "The analysis failed; `error` says why.",
    429: "Too much at once, or the day's quota is used up.",
    503: "Something that is needed does not answer; of `/ready/`, `checks` says what.",
    507: "This server has no room left for files.",
}


# -- What operations share --------------------------------------------------------------------------------------------

Responses = dict[Any, Any]


def refusals(*statuses: int) -> Responses:
    """The answers with these statuses, each with an example for every code that may come with it."""
    return {(status, PROBLEM_JSON): _refusal(status) for status in statuses}


def _refusal(status: int) -> OpenApiResponse:
    examples = [
        OpenApiExample(code, value={**problem(code, WHY[status]), "request_id": REQUEST_ID}, media_type=PROBLEM_JSON)
        for code, its_status in STATUS_BY_CODE.items()
        if its_status == status
    ]
    return OpenApiResponse(ProblemSerializer, WHY[status], examples)


def answered(serializer: type[Serializer], description: str = "") -> OpenApiResponse:
    """An answer with its example."""
    example = OpenApiExample("example", value=EXAMPLES[serializer.__name__])
    return OpenApiResponse(serializer, description, [example])


def _query(name: str, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, more.pop("type", str), OpenApiParameter.QUERY, description=description, **more)


PREFER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=N`: wait up to N seconds (at most 30) for the result.",
    examples=[OpenApiExample("wait", value="wait=20")],
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "maxLength": 200},
    OpenApiParameter.HEADER,
    description="The same key with the same request gets the same answer again, and nothing is done twice.",
)
LABELS = _query("labels", "`fake`: say `Fake` instead of `Deepfake`.", enum=["deepfake", "fake"])
KEY = _query("key", "Part of the `poll_url` of somebody without an account.")
CURSOR = _query("cursor", "From `next` or `previous`.")
FILTERS = [
    _query("verdict", "", enum=[verdict for verdict, _word in VERDICTS]),
    _query("status", "", enum=list(Analysis.Status.values)),
    _query("kind", "", enum=["video", "image"]),
    _query("since", "Sent on this day or later (UTC).", type=OpenApiTypes.DATE),
    _query("until", "Sent on this day or earlier (UTC).", type=OpenApiTypes.DATE),
    _query("search", "Part of the file's name."),
    _query("external_id", "Exactly this one."),
    CURSOR,
]


# -- What all have in common ------------------------------------------------------------------------------------------


class Documented(AutoSchema):
    """Adds the refusals that no view needs to mention: they follow from what the view asks for."""

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        if direction == "response":
            for status in self._common():
                if str(status) not in bodies:
                    bodies[str(status)] = self._get_response_for_code(_refusal(status), str(status), [PROBLEM_JSON])
        return dict(sorted(bodies.items()))

    def _common(self) -> set[int]:
        found = {429} if self.view.authentication_classes else set()
        if self.view.authentication_classes:
            found |= {401, 503}  # 401 also where nobody need be signed in: a bad token is refused
            if self.method not in ("GET", "HEAD"):
                found.add(403)
        if self.method in ("POST", "PUT", "PATCH"):
            found |= {400, 415}
        if "{" in self.path:
            found.add(404)
        if hasattr(self.view, "pagination_class") and self._is_list_view():
            found.add(404)  # a cursor that leads nowhere
        return found


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        del auto_schema
        scheme: dict[str, Any] = build_bearer_security_scheme_object("Authorization", "Token")
        return scheme


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = SessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        del auto_schema
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "A signed-in browser. Everything but reading needs the header X-CSRFToken as well.",
        }


HEADERS = {
    "X-Request-ID": ("string", "This request's name, also in the server's log."),
    "X-RateLimit-Limit": ("integer", "How often, in the tightest limit's window."),
    "X-RateLimit-Remaining": ("integer", "How often still."),
    "X-RateLimit-Reset": ("integer", "Seconds until the window ends."),
    "Retry-After": ("integer", "Seconds to wait before asking again."),
    "Location": ("string", "The same as `poll_url`."),
    "Preference-Applied": ("string", "`wait=N`, if one asked for a wait."),
    "Idempotent-Replayed": ("string", "`true`: this was answered before, under the same key."),
}
OF_ALL = ["X-Request-ID"]
OF_LIMITED = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
OF_TAKEN = ["Location", "Preference-Applied", "Idempotent-Replayed"]


def add_headers(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """A hook of drf-spectacular: headers are set by middleware, which it does not see."""
    del generator, request, public
    result["components"]["headers"] = {
        name: {"schema": {"type": kind}, "description": about} for name, (kind, about) in HEADERS.items()
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            takes_file = "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
            limited = "429" in operation["responses"]
            for status, response in operation["responses"].items():
                names = OF_ALL + (OF_LIMITED if limited else [])
                names += OF_TAKEN if takes_file and status in ("200", "202") else []
                names += ["Retry-After"] if status in ("202", "429", "503", "507") else []
                response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return result
