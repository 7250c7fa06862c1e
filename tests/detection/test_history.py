"""The history: finding, ordering, saving, and doing something with several analyses at once."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from detection.models import Analysis, Upload
from detection.reports.table import COLUMNS, safe
from tests import factories

pytestmark = pytest.mark.django_db
HISTORY = "/analyses/"
BULK = "/analyses/bulk/"
CSV = "/analyses/export.csv"


def named(owner: User, name: str, *, day: int = 1, **fields: Any) -> Analysis:
    """An analysis of a file of this name, sent on that day of November 2026."""
    kind = "video" if name.endswith(".mp4") else "image"
    analysis = factories.make_analysis(upload=factories.make_upload(owner, name=name, kind=kind), **fields)
    Analysis.objects.filter(pk=analysis.pk).update(created_at=datetime(2026, 11, day, 12, tzinfo=UTC))
    return analysis


# Also asked of PostgreSQL, in test_with_services.
QUESTIONS: list[tuple[dict[str, str], list[str]]] = [
    ({}, ["another.jpg", "broken.mp4", "night speech.mp4", "portrait.jpg", "Speech.mp4"]),
    ({"search": "SPEECH"}, ["night speech.mp4", "Speech.mp4"]),
    ({"search": "nothing like it"}, []),
    ({"verdict": "manipulated"}, ["Speech.mp4"]),
    ({"kind": "image"}, ["another.jpg", "portrait.jpg"]),
    ({"status": "failed"}, ["broken.mp4"]),
    ({"since": "2026-11-02", "until": "2026-11-03"}, ["night speech.mp4", "portrait.jpg"]),
    ({"kind": "video", "search": "speech", "verdict": "inconclusive"}, ["night speech.mp4"]),
    ({"sort": "oldest", "kind": "image"}, ["portrait.jpg", "another.jpg"]),
    ({"sort": "name"}, ["another.jpg", "broken.mp4", "night speech.mp4", "portrait.jpg", "Speech.mp4"]),
    ({"sort": "highest", "status": "succeeded"}, ["Speech.mp4", "portrait.jpg", "night speech.mp4"]),
    ({"sort": "lowest", "status": "succeeded"}, ["portrait.jpg", "Speech.mp4", "night speech.mp4"]),
]


def some_history(owner: User) -> dict[str, Analysis]:
    """Analyses of every outcome; the oldest first."""
    done = {"status": "succeeded", "threshold": 0.9, "suspicious_threshold": 0.6}
    return {
        "speech": named(owner, "Speech.mp4", day=1, verdict="manipulated", score=0.97, **done),
        "portrait": named(owner, "portrait.jpg", day=2, verdict="authentic", score=0.1, **done),
        "night": named(owner, "night speech.mp4", day=3, verdict="inconclusive", **done),
        "broken": named(owner, "broken.mp4", day=4, status="failed", error_code="unreadable_media"),
        "waiting": named(owner, "another.jpg", day=5),
    }


@pytest.fixture
def past(owner: User) -> dict[str, Analysis]:
    """What the owner had checked."""
    return some_history(owner)


def shown(client: Client, **query: str) -> list[str]:
    return [analysis.upload.name for analysis in client.get(HISTORY, query).context["page_obj"]]


@pytest.mark.parametrize(("query", "names"), QUESTIONS)
def test_what_is_asked_for_is_what_is_shown(owner_client: Client, past: dict, query: dict, names: list[str]):
    assert shown(owner_client, **query) == names


@pytest.mark.parametrize(
    "query",
    [{"verdict": "guilty"}, {"since": "yesterday"}, {"sort": "size"}, {"search": "a\0b"}, {"until": "9999-12-31"}],
)
def test_what_cannot_be_understood_narrows_nothing(owner_client: Client, past: dict, query: dict):
    assert len(shown(owner_client, **query)) == 5


def test_nothing_matches_is_not_nothing_there(owner_client: Client, past: dict):
    page = owner_client.get(HISTORY, {"search": "nothing like it"}).content.decode()
    assert "Nothing matches" in page
    assert "Nothing checked yet" not in page


def test_pages_keep_what_was_asked_for(owner_client: Client, owner: User):
    upload = factories.make_upload(owner, name="speech & more.mp4", kind="video")
    for _ in range(45):
        factories.make_analysis(upload=upload)
    response = owner_client.get(HISTORY, {"search": "speech & more", "page": "2"})
    page = response.content.decode()
    assert "search=speech+%26+more&amp;page=3" in page
    assert "search=speech+%26+more&amp;page=1" in page


def test_a_page_takes_few_queries_however_long_it_is(owner_client: Client, owner: User, django_assert_max_num_queries):
    for _ in range(15):
        factories.make_result(owner)
    with django_assert_max_num_queries(6):
        owner_client.get(HISTORY)


def test_the_face_of_the_worst_person_stands_for_an_analysis(owner_client: Client, owner: User):
    analysis = factories.make_result(owner, tracks=3)
    analysis.tracks.filter(number=1).update(score=0.99, has_thumbnail=True)
    analysis.tracks.filter(number=2).update(score=0.2, has_thumbnail=True)
    assert f"/media/{analysis.pk}/tracks/1.jpg" in owner_client.get(HISTORY).content.decode()


def test_numbers_by_outcome_lead_to_the_list(owner_client: Client, past: dict):
    for path in (HISTORY, "/"):
        response = owner_client.get(path)
        counts = response.context["counts"]
        assert counts.total == 5
        expected = {"manipulated": 1, "suspicious": 0, "authentic": 1, "inconclusive": 1, "queued": 1, "failed": 1}
        assert dict(counts.tiles) == expected
        assert "/analyses/?verdict=manipulated" in response.content.decode()
        assert "/analyses/?status=failed" in response.content.decode()


# -- Saving -----------------------------------------------------------------------------------------------------------


def saved(client: Client, **query: str) -> list[dict[str, str]]:
    response = client.get(CSV, query)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))


def test_the_csv_holds_what_the_page_shows(owner_client: Client, past: dict):
    rows = saved(owner_client, kind="video", sort="oldest")
    assert [row["name"] for row in rows] == ["Speech.mp4", "night speech.mp4", "broken.mp4"]
    speech = rows[0]
    assert tuple(speech) == COLUMNS
    assert (speech["verdict"], speech["score"], speech["threshold"]) == ("manipulated", "0.97", "0.9")
    assert speech["sent"] == "2026-11-01T12:00:00+00:00"
    assert rows[2]["error_code"] == "unreadable_media"


@pytest.mark.parametrize("name", ["=HYPERLINK(A1).jpg", "+1.jpg", "-1.jpg", "@SUM(A1).jpg", " =1+1.jpg", "\t=1.jpg"])
def test_a_file_name_is_never_a_formula(owner_client: Client, owner: User, name: str):
    named(owner, name)
    assert saved(owner_client)[0]["name"] == "'" + name


def test_other_cells_are_left_as_they_are():
    assert [safe(cell) for cell in ("a=b", 0.5, None, "", -1)] == ["a=b", 0.5, None, "", -1]


# -- Several at once --------------------------------------------------------------------------------------------------


def bulk(client: Client, action: str, *analyses: Analysis, path: str = BULK, **more: str):
    return client.post(path, {"action": action, "analysis": [str(a.pk) for a in analyses], **more})


def test_deleting_several_asks_first(
    owner_client: Client, past: dict, media_root: Path, django_capture_on_commit_callbacks
):
    doomed = (past["speech"], past["waiting"])
    response = bulk(owner_client, "delete", *doomed, path=f"{BULK}?kind=video")
    page = response.content.decode()
    assert response.status_code == 200
    assert "Speech.mp4" in page
    assert "portrait.jpg" not in page
    assert Analysis.objects.count() == 5

    with django_capture_on_commit_callbacks(execute=True):
        response = bulk(owner_client, "delete", *doomed, path=f"{BULK}?kind=video", confirmed="yes")
    assert response["Location"] == "/analyses/?kind=video"
    assert response["Clear-Site-Data"] == '"cache"'
    assert "2 analyses were deleted" in owner_client.get(HISTORY).content.decode()
    assert sorted(Upload.objects.values_list("name", flat=True)) == ["broken.mp4", "night speech.mp4", "portrait.jpg"]
    assert len(list(media_root.iterdir())) == 3


def test_running_several_again_leaves_alone_what_still_runs(
    owner_client: Client, past: dict, queued, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        response = bulk(owner_client, "retry", past["speech"], past["broken"], past["waiting"])
    assert "Clear-Site-Data" not in response
    page = owner_client.get(response["Location"]).content.decode()
    assert "2 analyses begin anew" in page
    assert "1 was left alone" in page
    assert set(queued()) == {str(past["speech"].pk), str(past["broken"].pk)}


def test_nothing_ticked(owner_client: Client, past: dict):
    for action in ("delete", "retry"):
        page = owner_client.get(bulk(owner_client, action, confirmed="yes")["Location"]).content.decode()
        assert "Tick at least one" in page
    assert Analysis.objects.count() == 5


@pytest.mark.parametrize("data", [{"action": "publish"}, {}, {"action": "delete", "analysis": ["7"]}])
def test_nonsense_is_refused(owner_client: Client, past: dict, data: dict):
    assert owner_client.post(BULK, data).status_code == 400
    assert Analysis.objects.count() == 5


def test_somebody_elses_analyses_are_not_there(client: Client, stranger: User, past: dict):
    client.force_login(stranger)
    for action in ("delete", "retry"):
        bulk(client, action, *past.values(), confirmed="yes")
    statuses = {name: Analysis.objects.get(pk=a.pk).status for name, a in past.items()}
    assert statuses == {name: a.status for name, a in past.items()}
    assert saved(client) == []
    assert client.get(HISTORY).context["counts"].total == 0


def test_visitors_sign_in_first(client: Client, past: dict):
    for response in (client.get(CSV), bulk(client, "delete", *past.values(), confirmed="yes"), client.get(HISTORY)):
        assert response["Location"].startswith("/accounts/login/")
    assert Analysis.objects.count() == 5


# -- API --------------------------------------------------------------------------------------------------------------


def test_the_api_narrows_its_list_by_the_same_words(owner_client: Client, past: dict):
    def names(**query: str) -> list[str]:
        body = owner_client.get("/api/v1/analyses/", query).json()
        return [row["media"]["name"] for row in body["results"]]

    assert names(search="speech") == ["night speech.mp4", "Speech.mp4"]
    assert names(verdict="authentic") == ["portrait.jpg"]
    assert names(status="queued", kind="image", since="2026-11-05") == ["another.jpg"]
    refused = owner_client.get("/api/v1/analyses/", {"verdict": "guilty"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert "verdict" in refused.json()["detail"]
