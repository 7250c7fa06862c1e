"""What the page of a result is made of: small JSON, quality notes, false-alarm rates of the model that judged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from accounts.models import User
from detection import serving
from detection.engine.registry import WEIGHTS, QualityLimits
from detection.models import Analysis, FaceScore, FaceTrack, Upload
from detection.reports import analysis_payload, card, figures
from detection.reports.page import page_payload, quality_notes
from tests import factories

pytestmark = pytest.mark.django_db
LIMITS = QualityLimits(min_face_size=64, min_sharpness=8, min_brightness=25, min_detail=0.7, min_frames=4)


def long_video(owner: User, *, people: int, frames: int = 512) -> Analysis:
    """Ten minutes, as many frames as settings allow, with figures as long as real ones."""
    upload = factories.make_upload(
        owner, kind="video", mime="video/mp4", duration=600.0, fps=25.0, width=1920, height=1080
    )
    analysis = factories.make_result(owner, tracks=0)
    Analysis.objects.filter(pk=analysis.pk).update(upload=upload, total_frames=frames)
    for number in range(people):
        track = FaceTrack.objects.create(analysis=analysis, number=number, score=0.73519283, verdict="suspicious")
        FaceScore.objects.bulk_create(
            FaceScore(
                track=track,
                number=number * frames + frame,
                frame_index=29 * frame,
                time=600 * frame / frames,
                box={"left": 1003, "top": 1002, "right": 1310, "bottom": 1440},
                crop_box={"left": 1005, "top": 1000, "right": 1366, "bottom": 1441},
                confidence=0.987654321,
                score=(frame * 37 % frames) / frames * 0.987654321,
                logit=0.123456789,
                flagged=frame * 37 % frames > 0.9 * frames,
                face_size=290.123456,
                sharpness=50.123456,
                brightness=120.123456,
                detail=1.0,
                has_pictures=frame % 2 == 0,
            )
            for frame in range(frames)
        )
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


def embedded(client: Client, analysis: Analysis) -> tuple[str, dict[str, Any]]:
    page = client.get(analysis.get_absolute_url()).content.decode()
    found = re.search(r'<script id="report" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1], json.loads(found[1])


@pytest.mark.parametrize("people", [1, 3, 20])
def test_a_ten_minute_video_opens_with_little_json(owner_client: Client, owner: User, people: int):
    analysis = long_video(owner, people=people)
    text, body = embedded(owner_client, analysis)
    assert len(text.encode()) <= 300_000
    payload = analysis_payload(analysis)
    shown = {(frame["index"], face["track"]) for frame in body["result"]["frames"] for face in frame["faces"]}
    worst = figures.worst_first(payload["result"])[:200]
    assert all((face["index"], face["track"]) in shown for face in worst), "a flagged frame cannot be opened"
    assert len(body["result"]["frames"]) >= 60, "too few frames are left to draw a curve"


def test_a_short_one_keeps_all_its_frames(owner: User):
    analysis = factories.make_result(owner, tracks=2, frames=30)
    payload = analysis_payload(analysis)
    short = page_payload(analysis, payload)
    assert [frame["time"] for frame in short["result"]["frames"]] == [
        round(frame["time"], 3) for frame in payload["result"]["frames"]
    ]
    face, full = short["result"]["frames"][0]["faces"][1], payload["result"]["frames"][0]["faces"][1]
    assert face["flagged"] is True
    assert f"{short['pictures']}faces/{face['picture']}.jpg" == full["crop_url"]
    assert f"{short['pictures']}heatmaps/{face['picture']}.png" == full["heatmap_url"]


def test_the_page_of_a_crowd_stays_small(owner_client: Client, owner: User):
    analysis = long_video(owner, people=8)
    page = owner_client.get(analysis.get_absolute_url())
    assert page.content.count(b'class="face-card"') <= 240
    assert "the report lists them all" in page.content.decode()


# -- Quality ----------------------------------------------------------------------------------------------------------


def notes(analysis: Analysis, limits: QualityLimits | None = LIMITS) -> dict[str, tuple[str, str]]:
    return {note.name: (note.value, note.level) for note in quality_notes(analysis_payload(analysis), limits)}


@pytest.mark.parametrize(("width", "level"), [(40, "poor"), (64, "fair"), (127, "fair"), (128, "good")])
def test_the_width_of_faces_is_held_to_what_the_model_asks_for(owner: User, width: int, level: str):
    analysis = factories.make_result(owner)
    FaceScore.objects.update(face_size=width)
    assert notes(analysis)["Width of the faces"] == (f"{width} px", level)
    assert notes(analysis, None)["Width of the faces"] == (f"{width} px", "")


def test_compression_is_told_in_bits_per_pixel(owner: User):
    analysis = factories.make_result(owner)
    Upload.objects.update(kind="video", width=1000, height=500, duration=10.0, fps=20.0, size=1_250_000)
    analysis = Analysis.objects.select_related("upload").get(pk=analysis.pk)
    assert notes(analysis)["Compression"] == ("0.10 bits per pixel", "")
    analysis.upload.fps = None
    assert "Compression" not in notes(analysis)


def test_without_a_face_there_is_no_note_about_faces(owner_client: Client, owner: User):
    analysis = factories.make_analysis(owner, status="succeeded", verdict="inconclusive")
    assert set(notes(analysis)) == {"Compression"}
    assert owner_client.get(analysis.get_absolute_url()).status_code == 200


# -- False alarms -----------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(settings: LazySettings, tmp_path: Path) -> Path:
    """A registry of this test's own."""
    folder = tmp_path / "weights"
    shutil.copytree(WEIGHTS, folder, ignore=shutil.ignore_patterns("faces", "*.tflite", "model_card.json", "plots"))
    settings.ANALYSIS_WEIGHTS_DIR = folder
    return folder


def test_false_alarms_are_those_of_the_model_that_judged(owner_client: Client, owner: User, weights: Path):
    spec = serving.served()
    analysis = factories.make_result(owner)
    Analysis.objects.update(**serving.columns(spec))
    page = " ".join(owner_client.get(analysis.get_absolute_url()).content.decode().split())
    alarms, reals = spec.metrics["validation_false_alarms"], spec.metrics["validation_real"]
    assert f"{alarms} of {reals} genuine files reached" in page

    Analysis.objects.update(model_sha256="0" * 64)  # a model that is no longer there
    assert "genuine files reached" not in owner_client.get(analysis.get_absolute_url()).content.decode()


def test_measured_facts_go_before_the_registry(weights: Path):
    spec = serving.served()
    facts = {
        "model": {"sha256": spec.sha256},
        "operating_point": {
            "kinds": {"video": {"false_alarms": 1, "false_alarms_at_most": 0.2}},
            "reals": {"video": 30},
        },
    }
    (weights / "model_card.json").write_text(json.dumps(facts))
    assert card.false_alarms(spec, "video") == card.FalseAlarms(reals=30, alarms=1, at_most=0.2)
    assert card.false_alarms(spec, "image").reals == spec.metrics["validation_real"]

    facts["model"] = {"sha256": "f" * 64}  # of another file: says nothing about this one
    (weights / "model_card.json").write_text(json.dumps(facts) + "\n")
    assert card.facts_of(spec) is None


@pytest.mark.parametrize(("share", "text"), [(0.0048, "0.5 %"), (0.03, "3.0 %"), (0.125, "12 %"), (0, "0.0 %")])
def test_shares(share: float, text: str):
    assert figures.percent(share) == text
