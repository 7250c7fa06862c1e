"""The API's description is complete, true, and served from here."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver

from accounts.models import User
from detection.api import serializers
from detection.api.examples import EXAMPLES
from detection.problems import STATUS_BY_CODE
from detection.reports import analysis_payload, analysis_summary, report_json
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema() -> dict:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
    return json.loads(out.getvalue())


def operations(schema: dict) -> list[tuple[str, str, dict]]:
    return [(path, method, found) for path, methods in schema["paths"].items() for method, found in methods.items()]


def test_it_describes_every_route_for_programs(schema: dict):
    described = {path.replace("{", "<uuid:").replace("}", ">") for path in schema["paths"]}
    api = next(entry for entry in get_resolver().url_patterns if getattr(entry, "namespace", None) == "api")
    assert {f"/api/v1/{route.pattern}" for route in api.url_patterns} <= described
    assert {"/predict", "/predict/<uuid:analysis_id>/", "/health/", "/ready/"} <= described


def test_every_operation_says_what_it_does_and_how_it_refuses(schema: dict):
    for path, method, operation in operations(schema):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        for status, response in operation["responses"].items():
            assert "X-Request-ID" in response["headers"]
            if int(status) >= 400:
                (content,) = response["content"].items()
                assert content[0] == "application/problem+json"
                assert content[1]["schema"] == {"$ref": "#/components/schemas/Problem"}
                assert content[1]["examples"]
        if path not in ("/health/", "/ready/"):
            assert {"401", "429"} <= set(operation["responses"]), (method, path)
            assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_every_code_is_in_it(schema: dict):
    assert set(schema["components"]["schemas"]["ProblemCodeEnum"]["enum"]) >= set(STATUS_BY_CODE)
    text = json.dumps(schema)
    for code, status in STATUS_BY_CODE.items():
        if status not in (405, 500):  # these come from no operation
            assert f'"code": "{code}"' in text, code


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_what_they_are_examples_of(name: str):
    found = getattr(serializers, name)(data=EXAMPLES[name])
    assert found.is_valid(), found.errors
    assert set(EXAMPLES[name]) == set(found.fields)


def undescribed(value: object, serializer: object, path: str = "") -> list[str]:
    """Names in an answer that the description lacks, and the other way round."""
    from rest_framework.serializers import BaseSerializer, ListSerializer

    if isinstance(serializer, ListSerializer):
        return [name for item in value for name in undescribed(item, serializer.child, path)]  # type: ignore[attr-defined]
    if value is None or not isinstance(serializer, BaseSerializer):
        return []
    fields = serializer.fields  # type: ignore[attr-defined]
    wrong = [f"{path}{name}" for name in set(value) ^ set(fields)]  # type: ignore[call-overload]
    for name in set(value) & set(fields):  # type: ignore[call-overload]
        wrong += undescribed(value[name], fields[name], f"{path}{name}.")  # type: ignore[index]
    return wrong


def test_the_description_has_every_name_that_answers_have(owner: User):
    analysis = factories.make_result(owner)
    assert undescribed(analysis_payload(analysis), serializers.AnalysisSerializer()) == []
    assert undescribed(analysis_summary(analysis), serializers.SummarySerializer()) == []
    assert undescribed(report_json(analysis), serializers.ReportSerializer()) == []


@pytest.mark.parametrize(
    ("path", "serializer"),
    [
        ("/api/v1/me/", serializers.MeSerializer()),
        ("/api/v1/usage/", serializers.UsageSerializer()),
        ("/api/v1/models/", serializers.ModelSerializer(many=True)),
        ("/api/v1/analyses/", serializers.PageSerializer()),
        ("/ready/", serializers.ReadySerializer()),
    ],
)
def test_so_have_the_other_answers(owner_client: Client, owner: User, path: str, serializer: object):
    factories.make_result(owner)
    assert undescribed(owner_client.get(path).json(), serializer) == []


def test_it_is_served_as_yaml_and_as_json(client: Client):
    assert client.get("/api/schema/")["Content-Type"].startswith("application/vnd.oai.openapi")
    answer = client.get("/api/schema/", headers={"Accept": "application/json"})
    assert answer.json()["openapi"].startswith("3.")


def test_the_page_loads_nothing_from_elsewhere(client: Client):
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert "https://" not in page.content.decode()
    assert "script-src" not in page["Content-Security-Policy"], "default-src 'self' holds for scripts"
    assert "style-src 'self' 'unsafe-inline'" in page["Content-Security-Policy"]
