"""The page about the model: whatever model is served, its own figures, from the registry and from measured facts."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client

from detection import serving
from detection.engine.registry import REGISTRY
from detection.reports import card
from detection.reports.model_card import sections

pytestmark = pytest.mark.django_db
AREA = {"value": 0.9123, "low": 0.87, "high": 0.95}
RATE = {"value": 0.25, "low": 0.1, "high": 0.4}
ENTRY = """
default = "other-model"
[models.other-model]
version = "9"
file = "other.tflite"
sha256 = "{sha256}"
architecture = "othernet"
input_size = 99
crop_margin = 2.0
licence = "whatever you like"
data = ["A collection of faces"]
[models.other-model.image]
slope = 1.0
intercept = 0.0
suspicious = 0.41
manipulated = 0.62
[models.other-model.video]
slope = 1.0
intercept = 0.0
suspicious = 0.43
manipulated = 0.64
[models.other-model.quality]
min_face_size = 50.0
min_sharpness = 8.0
min_brightness = 25.0
min_detail = 0.7
min_frames = 3
[models.other-model.metrics]
validation_real = 200
validation_false_alarms = 2
validation_false_alarm_rate_upper_95 = 0.031
validation_manipulated = 100
validation_detected = 60
validation_ece = 0.05
validation_auc = {{ some-swap = [0.9123, 0.87, 0.95] }}
"""


@pytest.fixture
def weights(settings: LazySettings, tmp_path: Path) -> Path:
    """A registry with another model than the one that we ship, without its file: the page does not need it."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / REGISTRY).write_text(ENTRY.format(sha256="e" * 64))
    settings.ANALYSIS_WEIGHTS_DIR = folder
    return folder


def facts(sha256: str = "e" * 64) -> dict[str, Any]:
    """Facts in the shape that detection.training.model_card writes, every part present."""
    row = {"name": "some-swap", "real": 30, "fake": 20, "auc": AREA, "tpr_at_1": RATE}
    source = {"name": "some-swap", "label": 1, "files": 20, "detected": 5, "detected_rate": RATE, "inconclusive": 1}
    cell = {"kind": "JPEG", "level": "q30", "auc": AREA, "loss": RATE, "alarms": 3, "reals": 40}
    return {
        "model": {"sha256": sha256},
        "intended_use": ["To look closer."],
        "not_for": ["No proof."],
        "data": {
            "training": ["A collection of faces"],
            "evaluation": {"origins": {"some-real": {"faces": 300, "videos": 30, "people": 29}}},
        },
        "training": {"faces": {"some-real": 900}},
        "leave_one_out": {"rows": [{"left_out": "some-swap", "real": 30, "fake": 20, "auc": AREA}]},
        "seeds": {"rows": [{"seed": 1, "figures": {"mean AUC": 0.91}}, {"seed": 2, "figures": {"mean AUC": 0.9}}]},
        "ablation": {"rows": [{"ingredient": "mixup", "kept": False, "figures": {"mean AUC": 0.9}, "note": "no gain"}]},
        "shortcuts": {"rows": [{"sees_only": "file size", "auc": AREA}]},
        "figures": {"mean_auc": AREA, "videos": [row], "images": [row]},
        "operating_point": {
            "kinds": {"video": {"false_alarms": 1, "false_alarms_at_most": 0.15}},
            "reals": {"video": 30},
            "coverage": 0.97,
            "by_source": [source],
        },
        "clips": {"by_source": [source], "overall": {}, "robustness": []},
        "compared": {"videos": [{"name": "some-swap", "real": 30, "fake": 20, "auc": {"ours": AREA, "MesoNet": RATE}}]},
        "robustness": {"bars": [cell], "cells": [cell], "summary": None, "faces": None},
        "blind_spots": ["some-swap is seen only in part."],
        "not_measured": ["Children."],
        "reproduce": ["make train-tools"],
    }


def words(client: Client) -> str:
    response = client.get("/model/")
    assert response.status_code == 200
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def test_everybody_may_read_it_and_finds_it(client: Client):
    assert 'href="/model/"' in client.get("/").content.decode()
    text = words(client)
    spec = serving.served()
    for known in (spec.name, spec.sha256, *spec.data):
        assert known in text


def test_it_is_about_the_model_that_is_served(client: Client, weights: Path):
    text = words(client)
    for known in ("other-model 9", "othernet, 99 × 99", "e" * 64, "some signs from 0.43, strong signs from 0.64"):
        assert known in text
    assert "some signs from 0.41" in text
    assert "narrower than 50 pixels" in text
    assert "some-swap 0.912 (0.870–0.950)" in text
    assert "2 of 200 genuine files" in text
    assert "at most 3.1 %" in text
    assert "mobilenet" not in text


def test_measured_facts_are_told_in_full(client: Client, weights: Path):
    (weights / card.FACTS).write_text(json.dumps(facts()))
    text = words(client)
    for title in (
        "What it is for",
        "Known blind spots",
        "What was not measured",
        "Manipulations that it never saw",
        "What is left after degradation",
        "What each ingredient brought",
        "What shortcuts can tell",
        "Beside other detectors",
    ):
        assert title in text
    for figure in (
        "1 of 30 genuine ones",
        "0.912 (0.870–0.950)",
        "25 % (10 %–40 %)",
        "mixup 0.900 no no gain",
        "JPEG q30",
        "3 of 40",
        "MesoNet",
        "some-swap is seen only in part.",
    ):
        assert figure in text, figure


@pytest.mark.parametrize(
    "part", ["leave_one_out", "seeds", "ablation", "shortcuts", "clips", "training", "robustness", "compared"]
)
def test_a_part_that_was_not_measured_is_left_out(client: Client, weights: Path, part: str):
    known = facts()
    known[part] = None
    (weights / card.FACTS).write_text(json.dumps(known))
    assert words(client)
    assert part.replace("_", "-") not in [section.key.replace("_", "-") for section in sections(serving.served())]


def test_facts_about_another_file_are_not_told(client: Client, weights: Path):
    (weights / card.FACTS).write_text(json.dumps(facts(sha256="d" * 64)))
    assert "Known blind spots" not in words(client)


def test_plots_are_shown_with_their_facts_only(client: Client, weights: Path, settings: LazySettings):
    (weights / "plots").mkdir()
    (weights / "plots" / "roc.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    assert "/model/plots/roc.svg" not in client.get("/model/").content.decode()
    (weights / card.FACTS).write_text(json.dumps(facts()))
    assert "/model/plots/roc.svg" in client.get("/model/").content.decode()
    response = client.head("/model/plots/roc.svg")
    assert (response.status_code, response["Content-Type"]) == (200, "image/svg+xml")
    settings.X_ACCEL = "/protected-media/"  # nginx sends what lies in the media folder, which these do not
    assert "X-Accel-Redirect" not in client.head("/model/plots/roc.svg")
    for name in ("scores", "registry", "secret"):
        assert client.get(f"/model/plots/{name}.svg").status_code == 404
