"""What a model has to pass, and ``manage.py promote_model``: a real measurement of real files, in processes."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from detection import promotion, registered_models, serving
from detection.engine.registry import find_model
from detection.models import AuditEntry, RegisteredModel
from detection.problems import Refused
from tests import variants
from tests.training.faces import write_collection

pytestmark = pytest.mark.django_db
SHIPPED = find_model()


def variant(models_dir: Path) -> RegisteredModel:
    return registered_models.register(variants.install(models_dir))


# -- The rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "objections"),
    [
        ({}, 0),
        ({"mean_auc": 0.8951}, 0),
        ({"mean_auc": 0.8949}, 1),
        ({"false_alarms": 4}, 1),
        ({"mean_auc": 0.5, "false_alarms": 4}, 2),
        ({"mean_auc": 0.99, "false_alarms": 2}, 0),
        ({"detected": 36}, 0),
        ({"detected": 35}, 1),
        ({"false_alarms": 0, "detected": 0}, 1),
    ],
)
def test_the_rule(candidate: dict, objections: int):
    measured = [promotion.Figures(**variants.figures("a-v1", **changes)) for changes in ({}, candidate)]
    assert len(promotion.Comparison(*measured, manifests=[], split="val").objections) == objections
    assert len(promotion.Comparison(*measured, manifests=[], split="train").objections) == objections + 1


def test_one_that_finds_nothing_passes_beside_none_that_finds_little():
    little, nothing = (promotion.Figures(**variants.figures("a-v1", detected=detected)) for detected in (2, 0))
    assert promotion.Comparison(little, nothing, [], "val").objections == ["it finds fewer manipulated files"]
    assert not promotion.Comparison(nothing, nothing, [], "val").objections


def comparison(**changes) -> promotion.Comparison:
    """Of the shipped model, which judges, and the variant."""
    champion = promotion.Figures(**variants.figures(SHIPPED.label, sha256=SHIPPED.sha256))
    candidate = promotion.Figures(**variants.figures("variant-v1", sha256=SHIPPED.sha256, **changes))
    return promotion.Comparison(champion, candidate, ["manifest.csv 00"], "val")


def test_one_that_is_no_worse_is_activated(models_dir: Path):
    row = variant(models_dir)
    assert promotion.conclude(row, comparison(), force=False, reason="", by=None)
    row.refresh_from_db()
    assert (row.state, row.passed_gate, row.forced_reason) == ("active", True, "")
    assert serving.served().label == "variant-v1"


def test_a_worse_model_is_activated_only_by_force(models_dir: Path):
    row = variant(models_dir)
    worse = comparison(mean_auc=0.5)
    assert not promotion.conclude(row, worse, force=False, reason="", by=None)
    row.refresh_from_db()
    assert (row.state, row.passed_gate, row.gate["candidate"]["mean_auc"]) == ("available", False, 0.5)
    assert promotion.conclude(row, worse, force=True, reason="a demonstration", by=None)
    row.refresh_from_db()
    assert (row.state, row.passed_gate, row.forced_reason) == ("active", False, "a demonstration")
    assert AuditEntry.objects.get(action="activate").after["forced"] is True
    with pytest.raises(Refused, match="active already"):
        registered_models.activate(row, by=None, reason="again")


def test_a_pass_is_one_against_the_model_that_judges_now(models_dir: Path):
    row, other = variant(models_dir), registered_models.register(variants.alarmist(models_dir))
    registered_models.activate(other, by=None, reason="a test")
    with pytest.raises(Refused, match="not passed a comparison with the one that judges now"):
        promotion.conclude(row, comparison(), force=False, reason="", by=None)  # of the model before that
    row.refresh_from_db()
    assert row.passed_gate
    assert registered_models.needs_reason(row)
    registered_models.activate(registered_models.sync()[0], by=None)  # back to the shipped one
    assert not registered_models.needs_reason(row)


def test_a_file_that_was_changed_while_it_was_measured_has_passed_nothing(models_dir: Path):
    row = variant(models_dir)
    RegisteredModel.objects.update(sha256="0" * 64)
    with pytest.raises(Refused, match="Another file took this model's place"):
        promotion.conclude(row, comparison(), force=True, reason="", by=None)
    row.refresh_from_db()
    assert (row.gate, row.passed_gate, row.state) == (None, False, "available")


def test_going_back_to_a_worse_default_by_force_is_noted(models_dir: Path):
    registered_models.activate(variant(models_dir), by=None, reason="a test")
    shipped = registered_models.sync()[0]
    champion, candidate = comparison(mean_auc=0.5).champion, comparison(mean_auc=0.5).candidate
    measured = promotion.Comparison(champion, candidate, [], "val")
    assert promotion.conclude(shipped, measured, force=True, reason="", by=None)
    assert serving.served() == SHIPPED
    assert AuditEntry.objects.filter(action="activate").first().after["forced"] is True


# -- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A genuine and a manipulated picture of each of twelve drawn people, three of whom are in ``val``."""
    (tmp_path / "faces").mkdir()
    path = write_collection(tmp_path / "faces", people=12)
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["frame"]) < 2]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def promote(name: str, manifest: Path, *more: str) -> str:
    said = StringIO()
    call_command("promote_model", name, "--manifest", str(manifest), *more, stdout=said)
    return said.getvalue()


def test_a_model_that_is_no_worse_is_promoted_and_need_not_be_forced(models_dir: Path, manifest: Path):
    variants.install(models_dir)
    assert "variant-v1 is active" in promote("variant", manifest)
    row = RegisteredModel.objects.get(name="variant")
    assert (row.state, row.passed_gate, row.forced_reason) == ("active", True, "")
    assert AuditEntry.objects.get(action="activate").after["forced"] is False
    assert serving.served().label == "variant-v1"


def test_a_model_with_more_false_alarms_is_not_promoted(models_dir: Path, manifest: Path):
    variants.alarmist(models_dir)
    with pytest.raises(CommandError, match="not activated: it gives more false alarms"):
        promote("alarmist", manifest)
    row = RegisteredModel.objects.get(name="alarmist")
    assert (row.state, row.passed_gate) == ("available", False)
    measured = row.gate["champion"], row.gate["candidate"]
    assert [figures["model"] for figures in measured] == [SHIPPED.label, "alarmist-v1"]
    assert [figures["genuine"] for figures in measured] == [3, 3]
    assert measured[0]["false_alarms"] < measured[1]["false_alarms"]
    assert measured[0]["mean_auc"] == measured[1]["mean_auc"]
    assert row.gate["manifests"][0].startswith("manifest.csv ")
    assert serving.served() == SHIPPED


def test_what_cannot_be_compared(models_dir: Path, manifest: Path, tmp_path: Path):
    row = registered_models.register(variants.install(models_dir))
    with pytest.raises(CommandError, match="no manifest"):
        promote("variant", tmp_path / "none.csv")
    with pytest.raises(CommandError, match="no model named 'nobody'"):
        promote("nobody", manifest)
    registered_models.activate(row, by=None, reason="a test")
    with pytest.raises(CommandError, match="variant-v1 judges already"):
        promote("variant-v1", manifest)
    assert AuditEntry.objects.filter(action="activate").count() == 1
