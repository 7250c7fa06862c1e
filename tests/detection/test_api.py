"""The API, version 1: shapes that clients rely on."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import User
from detection.models import Analysis, FaceScore, Upload
from detection.reports import analysis_payload
from tests import factories

pytestmark = pytest.mark.django_db
LIST = "/api/v1/analyses/"


def test_submitting(owner_client: Client, owner: User):
    response = owner_client.post(LIST, {"file": factories.uploaded()})
    assert response.status_code == 202
    body = response.json()
    assert set(body) == {
        "id",
        "external_id",
        "status",
        "mode",
        "waits_for",
        "sha256",
        "eta_seconds",
        "reused",
        "poll_url",
        "ws_url",
        "page_url",
    }
    assert response["Location"] == body["poll_url"]
    assert Analysis.objects.get().upload.user == owner
    assert owner_client.get(body["poll_url"]).json()["status"] == "queued"


def test_one_file_a_request(owner_client: Client):
    for path in (LIST, "/upload/"):
        files = {"file": [factories.uploaded(), factories.uploaded()]}
        response = owner_client.post(path, files, headers={"Accept": "application/json"})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert not Upload.objects.exists()


def test_a_result(owner_client: Client, owner: User):
    analysis = factories.make_result(owner, tracks=2, frames=3)
    body = owner_client.get(f"{LIST}{analysis.pk}/").json()
    base = f"/media/{analysis.pk}"
    assert body["progress"] == {
        "stage": "",
        "percent": 100,
        "frames_done": 3,
        "frames_total": 3,
        "eta_seconds": None,
    }
    assert body["media"] == {
        "kind": "image",
        "mime": "image/jpeg",
        "sha256": "ab" * 32,
        "size": analysis.upload.size,
        "width": 64,
        "height": 48,
        "duration": None,
        "fps": None,
        "name": "face.jpg",
        "url": f"{base}/source",
        "retain_seconds": 3600,
        "expires_at": None,
        "held_until": None,
        "deleted_at": None,
        "deleted_reason": None,
    }
    assert body["pictures"] == {"expires_at": None, "deleted_at": None}
    assert body["error"] is None
    result = body["result"]
    assert (result["verdict"], result["score"], result["threshold"]) == ("manipulated", 0.91, 0.8)
    assert result["model"] == {"name": "test", "version": "1", "sha256": "0" * 64}
    assert (result["total_frames"], result["deepfake_frames"]) == (3, 1)
    assert result["deepfake_ratio"] == pytest.approx(1 / 3)
    assert [track["id"] for track in result["tracks"]] == [0, 1]
    assert [frame["time"] for frame in result["frames"]] == [0.0, 0.4, 0.8]
    assert [face["track"] for face in result["frames"][0]["faces"]] == [0, 1]
    face = result["frames"][0]["faces"][0]
    assert face["box"] == {"left": 1, "top": 2, "right": 30, "bottom": 40}
    assert (face["crop_url"], face["heatmap_url"]) == (f"{base}/faces/0.jpg", f"{base}/heatmaps/0.png")
    assert face["flagged"] is True


def test_a_result_of_nothing_is_inconclusive_and_says_why(owner_client: Client, owner: User):
    reasons = [{"code": "no_face", "message": "No face was found."}]
    analysis = factories.make_analysis(owner, status="succeeded", verdict="inconclusive", reasons=reasons)
    result = owner_client.get(f"{LIST}{analysis.pk}/").json()["result"]
    assert (result["verdict"], result["score"], result["reasons"]) == ("inconclusive", None, reasons)
    assert (result["tracks"], result["frames"], result["deepfake_ratio"]) == ([], [], 0.0)


def test_a_failure(owner_client: Client, owner: User):
    analysis = factories.make_analysis(owner, status="failed", error_code="unreadable_media", error_message="Broken.")
    body = owner_client.get(f"{LIST}{analysis.pk}/").json()
    assert body["error"] == {"code": "unreadable_media", "message": "Broken."}
    assert body["result"] is None


def test_a_large_result_takes_as_many_queries_as_a_small_one(owner: User, django_assert_num_queries):
    for tracks, frames in ((1, 1), (5, 60)):
        analysis = factories.make_result(owner, tracks=tracks, frames=frames)
        analysis = Analysis.objects.select_related("upload").get(pk=analysis.pk)
        with django_assert_num_queries(3):
            assert len(analysis_payload(analysis)["result"]["frames"]) == frames
    assert FaceScore.objects.count() == 301


def test_the_list_comes_in_pages_newest_first(owner_client: Client, owner: User, django_assert_max_num_queries):
    upload = factories.make_upload(owner)
    made = [str(factories.make_analysis(upload=upload).pk) for _ in range(25)]
    with django_assert_max_num_queries(4):
        first = owner_client.get(LIST).json()
    second = owner_client.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == made[::-1]
    assert second["next"] is None


@pytest.mark.parametrize("place", ["zzzz", "cD0yMDI2LTEzLTAxVDAwOjAw", "cD0wMDAx", "cD1uZXZlcg=="])
def test_a_place_in_the_list_that_is_none(owner_client: Client, place: str):
    response = owner_client.get(LIST, {"cursor": place})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_cancel_retry_delete(owner_client: Client, owner: User):
    path = f"{LIST}{factories.make_analysis(owner).pk}/"
    response = owner_client.post(f"{path}cancel/")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    response = owner_client.post(f"{path}cancel/")
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    response = owner_client.post(f"{path}retry/")
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    response = owner_client.post(f"{path}retry/")
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert owner_client.delete(path).status_code == 204
    response = owner_client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_errors_are_problem_details(client: Client, owner: User):
    response = client.get(LIST)
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"
    assert response["WWW-Authenticate"] == "Token"
    assert set(response.json()) == {"type", "title", "status", "detail", "code", "request_id"}
    assert response.json()["request_id"] == response["X-Request-ID"]
    client.force_login(owner)
    response = client.put(LIST)
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response["Allow"]
    response = client.post(LIST, "{", content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    response = client.post(LIST, "x", content_type="text/plain")
    assert (response.status_code, response.json()["code"]) == (415, "invalid_request")
