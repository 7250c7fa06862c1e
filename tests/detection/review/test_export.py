"""What reviewers decided becomes training data, if its user allows it; read back by the training's own reader."""

from __future__ import annotations

import csv
import shutil
from io import StringIO
from pathlib import Path

import cv2
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import User
from detection.models import Analysis, AuditEntry, FaceScore, Upload
from detection.review import services
from detection.training import prepare
from detection.training.batches import FacePairs, Recipe
from detection.training.datasets import read_manifest
from tests import factories

pytestmark = pytest.mark.django_db
PORTRAIT = Path(__file__).parents[3] / "static" / "samples" / "astronaut.jpg"


def sent(owner: User, *, consent: bool = True, tracks: int = 1) -> Analysis:
    """A result of a real portrait."""
    analysis = factories.make_result(owner, tracks=tracks, frames=2)
    shutil.copyfile(PORTRAIT, analysis.upload.file.path)
    Upload.objects.filter(pk=analysis.upload_id).update(consented_at=timezone.now() if consent else None)
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


def judged(analysis: Analysis, reviewer: User, verdict: str) -> Analysis:
    services.give_opinion(analysis=analysis, reviewer=reviewer, verdict=verdict)
    return analysis


def run(output: Path) -> str:
    written = StringIO()
    call_command("export_reviewed", str(output), stdout=written)
    return written.getvalue()


def test_only_what_is_reviewed_and_allowed_leaves_the_site(owner: User, stranger: User, reviewer: User, tmp_path: Path):
    genuine = judged(sent(owner), reviewer, "authentic")
    fake = judged(sent(stranger), reviewer, "manipulated")
    judged(sent(owner, consent=False), reviewer, "authentic")
    judged(sent(owner), reviewer, "inconclusive")
    judged(sent(owner, tracks=2), reviewer, "manipulated")
    sent(owner)  # not reviewed
    objected = judged(sent(owner), reviewer, "manipulated")
    services.dispute(analysis=objected, category="genuine")
    withdrawn = judged(sent(owner), reviewer, "authentic")
    services.set_consent(analysis=withdrawn, given=False)

    out = run(tmp_path / "out")
    samples = read_manifest(tmp_path / "out" / "manifest.csv")
    assert {(s.video.rpartition("/")[0], s.label) for s in samples} == {
        ("reviewed/real", 0),
        ("reviewed/manipulated", 1),
    }
    for sample in samples:
        height, width = sample.load().shape[:2]
        assert min(height, width) > 48
        assert (sample.landmarks > 0).all()
        assert (sample.landmarks < max(height, width)).all()
    for line in ("2  reviewed analyses left out: no consent", "nobody can tell", "disputed", "several people"):
        assert line in out
    exported = AuditEntry.objects.filter(action="export").values_list("object_id", flat=True)
    assert set(exported) == {str(genuine.pk), str(fake.pk)}


def test_nothing_in_it_names_anybody(owner: User, reviewer: User, tmp_path: Path):
    analysis = judged(sent(owner), reviewer, "authentic")
    run(tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        assert str(analysis.upload_id) not in str(path)
        if path.suffix in (".csv", ".jsonl"):
            assert "example.org" not in path.read_text()
            assert "face.jpg" not in path.read_text()
            assert str(analysis.upload_id) not in path.read_text()
    (row,) = csv.DictReader((tmp_path / "out" / "manifest.csv").read_text().splitlines())
    assert row["group"] != str(owner.pk)
    run(tmp_path / "again")
    (again,) = csv.DictReader((tmp_path / "again" / "manifest.csv").read_text().splitlines())
    assert again == row, "the same names in every export of this site"


def test_a_permission_that_is_taken_back_meanwhile_is_heeded(
    owner: User, stranger: User, reviewer: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Files are cut one after the other, the latest review first."""
    last, first = judged(sent(owner), reviewer, "authentic"), judged(sent(stranger), reviewer, "authentic")
    cut = prepare._cut_faces

    def and_then_change_ones_mind(*args):
        services.set_consent(analysis=last, given=False)
        return cut(*args)

    monkeypatch.setattr(prepare, "_cut_faces", and_then_change_ones_mind)
    out = run(tmp_path / "out")
    assert len({sample.video for sample in read_manifest(tmp_path / "out" / "manifest.csv")}) == 1
    assert "1  reviewed analyses left out: no consent" in out
    assert AuditEntry.objects.get(action="export").object_id == str(first.pk)


def test_one_that_is_run_again_waits(owner: User, reviewer: User, tmp_path: Path):
    """Nobody knows how many people are in it before."""
    analysis = judged(sent(owner), reviewer, "authentic")
    Analysis.objects.filter(pk=analysis.pk).update(status="running", verdict="")
    run(tmp_path / "out")
    assert read_manifest(tmp_path / "out" / "manifest.csv") == []


def test_kept_crops_serve_where_the_file_is_gone(owner: User, stranger: User, reviewer: User, tmp_path, media_root):
    """Then a new run of the training can still learn from them."""
    crop = cv2.resize(cv2.imread(str(PORTRAIT))[:400, 60:460], (224, 224), interpolation=cv2.INTER_AREA)
    for user, verdict in ((owner, "authentic"), (stranger, "manipulated")):
        analysis = judged(sent(user), reviewer, verdict)
        Path(analysis.upload.file.path).unlink()
        Upload.objects.filter(pk=analysis.upload_id).update(media_deleted_at=timezone.now())
        FaceScore.objects.filter(track__analysis=analysis).update(face_size=150)
        faces = media_root / analysis.folder / "faces"
        faces.mkdir(parents=True)
        cv2.imwrite(str(faces / "0.jpg"), crop)
    judged(gone(sent(owner)), reviewer, "authentic")
    out = run(tmp_path / "out")
    assert "1  reviewed analyses left out: file and crops are deleted" in out
    samples = read_manifest(tmp_path / "out" / "manifest.csv")
    assert sorted(s.origin for s in samples) == ["reviewed-crops-manipulated", "reviewed-crops-real"]

    recipe = Recipe(
        input_size=96, crop_margin=2.9, batch_size=2, steps_per_epoch=1, seed=1, pseudo_share=0.0, real_weights={},
        fake_weights={},
    )  # fmt: skip
    crops, targets, _weights = FacePairs(samples, {}, recipe)[0]
    assert crops.shape == (2, 96, 96, 3)
    assert sorted(targets["logit"].ravel()) == [0.0, 1.0]


def gone(analysis: Analysis) -> Analysis:
    Upload.objects.filter(pk=analysis.upload_id).update(media_deleted_at=timezone.now())
    Path(analysis.upload.file.path).unlink()
    return analysis


def test_an_earlier_export_is_not_written_over(tmp_path: Path):
    (tmp_path / "old.jpg").write_bytes(b"face")
    with pytest.raises(CommandError, match="not empty"):
        call_command("export_reviewed", str(tmp_path))
