"""Reports to keep: PDF and JSON, made of stored rows, for the owner only."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image
from pypdf import PdfReader

from accounts.models import User
from detection.models import Analysis, FaceScore, Upload
from detection.reports.pdf import printable, report_pdf
from tests import factories

pytestmark = pytest.mark.django_db


def path(analysis: Analysis, extension: str) -> str:
    return f"/api/v1/analyses/{analysis.pk}/report.{extension}"


def picture(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (40, 40), (200, 120, 60, 90)[: len(mode)]).save(path)


@pytest.fixture
def result(owner: User, media_root: Path) -> Analysis:
    """Two people in a video, found manipulated, with all their pictures."""
    analysis = factories.make_result(owner, tracks=2, frames=6)
    moments = {
        "started_at": datetime(2026, 11, 21, 9, tzinfo=UTC),
        "finished_at": datetime(2026, 11, 21, 10, tzinfo=UTC),
    }
    Analysis.objects.filter(pk=analysis.pk).update(**moments)
    Upload.objects.filter(pk=analysis.upload_id).update(kind="video", mime="video/mp4", duration=3.0, name="Rede.mp4")
    analysis.tracks.update(has_thumbnail=True)
    analysis.tracks.filter(number=0).update(segments=[{"start": 0.0, "end": 0.8}])
    for track in analysis.tracks.all():
        picture(media_root / analysis.folder / f"tracks/{track.number}.jpg")
        for score in track.scores.all():
            picture(media_root / analysis.folder / f"faces/{score.number}.jpg")
            picture(media_root / analysis.folder / f"heatmaps/{score.number}.png", "RGBA")
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


def read(content: bytes) -> tuple[PdfReader, str]:
    """The document, and its text with every white space as one blank."""
    reader = PdfReader(io.BytesIO(content))
    return reader, " ".join(" ".join(page.extract_text() for page in reader.pages).split())


def test_the_pdf_says_what_was_found_in_what_and_by_what(owner_client: Client, result: Analysis):
    response = owner_client.get(path(result, "pdf"))
    assert response["Content-Type"] == "application/pdf"
    assert response["Content-Disposition"].startswith('attachment; filename="veriframe-Rede-')
    assert "no-store" in response["Cache-Control"]

    reader, text = read(response.content)

    for words in (
        "Strong signs of manipulation",
        "Score 0.91",
        "It is no proof",
        "evidence, not proof",
        result.upload.sha256,
        result.model_sha256,
        "test 1",
        str(result.pk),
        "2026-11-21 10:00:00 UTC",
        "Person 1",
        "Person 2",
        "0:00.0–0:00.8",
        "1 of 6 examined frames",
    ):
        assert words in text, words
    assert reader.metadata is not None
    assert reader.metadata.title == "Veriframe report: Rede.mp4"
    assert reader.trailer["/Root"]["/Lang"] == "en"
    assert len([image for page in reader.pages for image in page.images]) >= 4


def test_every_font_is_embedded(result: Analysis):
    reader, _ = read(report_pdf(result))
    fonts = {
        font["/BaseFont"]: font["/DescendantFonts"][0]["/FontDescriptor"]
        for page in reader.pages
        for font in (entry.get_object() for entry in page["/Resources"]["/Font"].values())
    }
    assert {name.split("+")[-1][:8] for name in fonts} == {"Atkinson"}
    assert all("/FontFile2" in descriptor for descriptor in fonts.values())


def test_the_same_rows_make_the_same_bytes(result: Analysis):
    assert report_pdf(result) == report_pdf(result)


def test_the_pdf_runs_no_engine_and_needs_no_picture(result: Analysis, media_root: Path):
    for file in (media_root / result.folder).rglob("*.*"):
        file.unlink()
    _, text = read(report_pdf(result))
    assert "Strong signs of manipulation" in text


def test_a_large_result_stays_a_document_that_one_can_send(owner: User):
    analysis = factories.make_result(owner, tracks=12, frames=60)
    FaceScore.objects.update(flagged=True, score=0.95)
    reader, text = read(report_pdf(analysis))
    assert "520 more are in the JSON report" in text
    assert len(reader.pages) < 30


@pytest.mark.parametrize("verdict", ["authentic", "suspicious", "manipulated"])
def test_each_verdict_has_its_words(owner: User, verdict: str):
    analysis = factories.make_result(owner)
    analysis.verdict = verdict
    _, text = read(report_pdf(analysis))
    words = {"authentic": "No signs of", "suspicious": "Some signs of", "manipulated": "Strong signs of"}
    assert words[verdict] in text


def test_no_answer_is_reported_with_its_reason_and_advice(owner: User):
    reasons = [{"code": "too_dark", "message": "The faces are too dark."}]
    analysis = factories.make_analysis(owner, status="succeeded", verdict="inconclusive", reasons=reasons)
    _, text = read(report_pdf(analysis))
    assert "Cannot tell" in text
    assert "The faces are too dark." in text
    assert "more light" in text
    assert "Score" not in text


def test_a_failure_is_reported_too(owner_client: Client, owner: User):
    failed = factories.make_analysis(owner, status="failed", error_code="unreadable_media", error_message="Broken.")
    _, text = read(owner_client.get(path(failed, "pdf")).content)
    assert "could not be analysed" in text
    assert "unreadable_media" in text
    assert owner_client.get(path(failed, "json")).json()["analysis"]["error"]["code"] == "unreadable_media"


def test_characters_that_the_font_lacks_are_not_dropped(owner: User):
    assert printable("naïve – Ł.mp4") == "naïve – Ł.mp4"
    assert printable("речь🎬.mp4") == "\\u0440\\u0435\\u0447\\u044c\\U0001f3ac.mp4"
    analysis = factories.make_result(owner)
    analysis.upload.name = "речь🎬 " + "long " * 40 + ".mp4"
    _, text = read(report_pdf(analysis))
    assert "\\U0001f3ac" in text


def test_the_json_report_is_complete(owner_client: Client, result: Analysis):
    response = owner_client.get(path(result, "json"))
    assert response["Content-Type"] == "application/json"
    assert response["Content-Disposition"].startswith("attachment")
    body: dict[str, Any] = json.loads(response.content)
    assert body["format"] == "veriframe-report/1"
    assert body["software"]["name"] == "Veriframe"
    assert body["statement"] == "Strong signs of manipulation"
    assert "not proof" in body["notice"]
    assert body["analysis"] == owner_client.get(f"/api/v1/analyses/{result.pk}/").json()


@pytest.mark.parametrize("status", ["queued", "running", "cancelled"])
@pytest.mark.parametrize("extension", ["pdf", "json"])
def test_without_an_outcome_there_is_no_report(owner_client: Client, owner: User, status: str, extension: str):
    response = owner_client.get(path(factories.make_analysis(owner, status=status), extension))
    assert (response.status_code, response.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize("accept", ["application/pdf", "text/html,*/*;q=0.8", "application/json"])
def test_the_address_decides_on_the_format(owner_client: Client, result: Analysis, accept: str):
    for extension, content_type in (("pdf", "application/pdf"), ("json", "application/json")):
        response = owner_client.get(path(result, extension), headers={"Accept": accept})
        assert (response.status_code, response["Content-Type"]) == (200, content_type)


def test_the_page_offers_both_once_there_is_something(owner_client: Client, owner: User, result: Analysis):
    page = owner_client.get(result.get_absolute_url()).content.decode()
    assert path(result, "pdf") in page
    assert path(result, "json") in page
    waiting = factories.make_analysis(owner)
    assert path(waiting, "pdf") not in owner_client.get(waiting.get_absolute_url()).content.decode()


def test_a_stranger_gets_none(client: Client, stranger: User, result: Analysis):
    for extension in ("pdf", "json"):
        assert client.get(path(result, extension)).status_code == 401
    client.force_login(stranger)
    for extension in ("pdf", "json"):
        assert client.get(path(result, extension)).status_code == 404
