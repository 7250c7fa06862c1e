"""The card tells what was measured, of the file that is registered, and promises nothing else."""

from __future__ import annotations

import json
import os
import re

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest

from detection.engine.registry import WEIGHTS, find_model
from detection.training import model_card


def estimate(value):
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def counted(alarms, files):
    rate = {"value": alarms / files, "low": 0.0, "high": 0.3}
    row = {"false_alarms": alarms, "false_alarms_rate": rate, "false_alarms_at_most": 0.2589, "false_hints": alarms}
    row |= {"false_hints_rate": rate, "false_hints_at_most": 0.2589, "detected": 2, "detected_rate": rate}
    return row | {"suspected": 2, "suspected_rate": rate, "inconclusive": 1, "coverage": 0.95}


@pytest.fixture
def report():
    """A report of the shipped model with invented, recognisable figures."""
    spec = find_model()
    ranked = {key: estimate(0.7123) for key in ("auc", "ap", "eer", "tpr_at_1", "tpr_at_5")}
    row = {"name": "ffpp-faceswap", "real": 10, "fake": 10, "people": 5, "prevalence": 0.5, **ranked, **counted(0, 10)}
    fake = {"name": "ffpp-faceswap", "label": 1, "files": 10, "median_score": 0.4, **counted(0, 10)}
    level = {
        "overall": {
            "mean_auc": estimate(0.7123), "ece": estimate(0.04), "brier": estimate(0.1), **row,
            "kinds": {"video": counted(0, 10)}, "reals": {"video": 10},
        },
        "by_manipulation": [row],
        "by_source": [fake],
    }  # fmt: skip
    cell = {"suite": "bar", "level": "", "reals": 10, "alarms": 0, "alarms_drift": 0.0, "coverage": 1.0}
    clean = {**cell, "kind": "clean", "auc": estimate(0.7123), "loss": estimate(0.0)}
    harsh = {**cell, "kind": "H.264", "level": "CRF 35", "auc": estimate(0.5), "loss": estimate(0.2111)}
    point = {"slope": 1.0, "intercept": 0.0, "suspicious": 0.61, "manipulated": 0.83}
    return {
        "model": {
            "name": spec.name, "version": spec.version, "file": spec.path.name, "sha256": spec.sha256,
            "bytes": 123456, "architecture": spec.architecture, "input_size": spec.input_size,
            "image": point, "video": point,
        },
        "data": {"split": "val", "origins": {"ffpp-faceswap": {"faces": 60, "videos": 10, "people": 5}}},
        "videos": level,
        "images": {**level, "slices": []},
        "alike": {"recompressed": [{"name": "ffpp-faceswap", "auc": estimate(0.7)}]},
        "compared": {
            "videos": [{"name": "ffpp-faceswap", "real": 10, "fake": 10,
                        "auc": {"ours": estimate(0.7123), "Meso4 (DF)": estimate(0.3891)}}],
        },
        "robustness": {"bars": [clean, harsh]},
        "agreement": {"engine": {"largest_score_difference": 0.0}},
        "bars": [{"name": "video AUC", "measured": 0.7123, "limit": 0.98, "at_least": True, "met": False}],
    }  # fmt: skip


def test_the_card_tells_the_measured_figures_and_the_bars_that_were_missed(report):
    text = model_card.render(model_card.collect(report, None))
    assert find_model().sha256 in text
    assert "0.712 (0.692 to 0.732)" in text
    assert "0.389" in text  # MesoNet on the same files
    assert "| video AUC | ≥ 0.98 | 0.7123 | **no** |" in text
    assert "at most 25.9 % with 95 % confidence" in text


def test_blind_spots_follow_from_the_figures(report):
    spots = " ".join(model_card.blind_spots(report))
    assert "ffpp-faceswap is hardly seen" in spots
    assert "2 of 10 files are found" in spots
    assert "H.264 costs up to 0.21 of AUC" in spots
    report["videos"]["by_manipulation"][0]["auc"] = estimate(0.97)
    report["robustness"]["bars"].pop()
    report["videos"]["by_source"] = []
    assert model_card.blind_spots(report) == []


def test_what_only_people_kept_for_calibration_show_is_told_with_them(report):
    rows = report["videos"]["by_manipulation"]
    other = {**report, "videos": {**report["videos"], "by_manipulation": [*rows, {**rows[0], "name": "news-flux"}]}}
    other["videos"]["by_manipulation"][-1]["auc"] = estimate(0.22)
    facts = model_card.collect(report, None, calibration=other)
    assert [row["name"] for row in facts["figures"]["calibration_only"]] == ["news-flux"]
    assert any(spot.startswith("news-flux (people kept for calibration) is not seen") for spot in facts["blind_spots"])
    assert "| news-flux |" in model_card.render(facts)
    assert "kept for calibration" not in model_card.render(model_card.collect(report, None))


def test_a_report_on_calibration_about_another_file_is_refused(report):
    other = {**report, "model": {**report["model"], "sha256": "0" * 64}}
    with pytest.raises(ValueError, match="registry has"):
        model_card.collect(report, None, calibration=other)


def test_results_of_training_runs_are_told_where_they_lie(report, tmp_path):
    results = {
        "training": {"parameters": 2_257_984, "recipe": {"steps": 3000}, "faces": {"ffpp-real": 868}},
        "leave_one_out": {
            "rows": [
                {"left_out": "ffpp-faceswap", "real": 10, "fake": 10, "auc": estimate(0.8344)},
                {"left_out": "ffpp-faceswap, all 4 of ffpp left out", "real": 10, "fake": 10, "auc": estimate(0.7)},
            ]
        },
        "seeds": {"rows": [{"seed": 2, "figures": {"mean": 0.9012}}]},
        "ablation": {"rows": [{"ingredient": "SAM", "kept": False, "figures": {"mean": 0.8777}, "note": "no gain"}]},
        "shortcuts": {"rows": [{"sees_only": "file size", "auc": estimate(0.5432)}]},
    }
    for name, content in results.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    text = model_card.render(model_card.collect(report, tmp_path))
    parts = (
        "2,257,984 parameters",
        "| steps | 3000 |",
        "Mean: one at a time 0.834, all at once 0.700.",
        "0.901",
        "| SAM | 0.878 | no | no gain |",
    )
    for part in parts:
        assert part in text, part
    assert "| file size | 0.543 (0.523 to 0.563) |" in text
    assert "Other seeds" not in model_card.render(model_card.collect(report, None))


def test_a_report_about_another_file_is_refused(report):
    report["model"]["sha256"] = "0" * 64
    with pytest.raises(ValueError, match="registry has"):
        model_card.collect(report, None)


def test_card_and_facts_are_written_beside_the_registry(report, tmp_path):
    for file in (*WEIGHTS.glob("*.tflite"), WEIGHTS / "registry.toml"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "report.json").write_text(json.dumps(report))
    card, facts = model_card.write(tmp_path / "report.json", weights_dir=tmp_path)
    assert card.read_text() == model_card.render(json.loads(facts.read_text()))


def test_nothing_is_claimed_that_nobody_can_keep(report):
    text = model_card.render(model_card.collect(report, None))
    assert not re.search(r"\d %\s+accura|all deepfakes|is authentic", text, re.IGNORECASE)


def test_the_card_in_the_repository_is_of_the_model_that_ships():
    facts = WEIGHTS / model_card.FACTS
    if not facts.exists():
        pytest.skip("no card has been written yet")
    told = json.loads(facts.read_text(encoding="utf-8"))
    assert told["model"]["sha256"] == find_model().sha256
    assert (WEIGHTS / model_card.CARD).read_text(encoding="utf-8") == model_card.render(told)
