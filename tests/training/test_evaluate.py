"""From manifests and clips to a report: complete, consistent with itself, and about the file that is served."""

from __future__ import annotations

import csv
import json
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest

from detection.engine.registry import find_model
from detection.engine.runtimes.litert import LiteRTClassifier
from detection.engine.types import MediaKind, Verdict
from detection.training import agreement, evaluate, metrics, plots, sections, tables
from detection.training.datasets import read_manifest
from detection.training.perturbations import everyday
from detection.training.scoring import Detector, Judged, comparisons, judge_images, judge_videos, reals_of, score_faces


@pytest.fixture(scope="module")
def spec():
    return find_model()


@pytest.fixture(scope="module")
def samples(shared_data):
    """Every ninth validation face, and two frames of every FaceForensics++ video."""
    everyone = [s for s in read_manifest(shared_data / "faces" / "manifest.csv") if s.split == "val"]
    videos = {}
    for sample in everyone:
        videos.setdefault(sample.video, []).append(sample)
    ffpp = [s for members in videos.values() if len(members) > 1 for s in members[:4]]
    return ffpp[::2] + [s for s in everyone if s.dataset != "ffpp"][::16]


@pytest.fixture(scope="module")
def detector(spec):
    return Detector(spec, LiteRTClassifier(spec, threads=1))


@pytest.fixture(scope="module")
def faces(samples, detector):
    return score_faces(samples, detector)


def judged(labels, scores, verdicts=None, origin="lfw"):
    labels = np.array(labels)
    names = tuple(str(i) for i in range(len(labels)))
    return Judged(
        names=names,
        origins=np.array([f"{origin}-{'swap' if label else 'real'}" for label in labels]),
        labels=labels,
        clusters=names,
        kinds=(MediaKind.IMAGE,) * len(labels),
        scores=np.array(scores, float),
        verdicts=tuple(verdicts or [Verdict.AUTHENTIC] * len(labels)),
    )


def test_the_engine_gives_the_scores_that_training_measured(samples, detector):
    result = agreement.with_engine(samples, detector, number=100)
    assert result["crops"] == 100
    assert result["largest_score_difference"] <= 1e-3
    assert result["met"]


def test_another_network_is_told_apart(samples, detector):
    result = agreement.with_network(samples, detector, lambda crops: np.zeros(len(crops), np.float32), number=10)
    assert not result["met"]


def test_frames_of_a_video_are_judged_together_and_stills_alone(faces, spec):
    videos, images = judge_videos(faces, spec), judge_images(faces, spec)
    assert len(images) == len(faces.samples)
    assert len(videos) == len({s.video for s in faces.samples})
    kinds = {str(origin): kind for origin, kind in zip(videos.origins, videos.kinds, strict=True)}
    assert kinds["ffpp-real"] is MediaKind.VIDEO
    assert kinds["lfw-real"] is MediaKind.IMAGE
    # Two frames are fewer than a verdict on a video needs; the ranking still has a score for it.
    assert all(v is Verdict.INCONCLUSIVE for v, k in zip(videos.verdicts, videos.kinds, strict=True) if k == "video")
    assert np.isfinite(videos.scores).all()


def test_generated_portraits_are_compared_with_portraits(faces, spec):
    masks = comparisons(judge_images(faces, spec))
    origins = judge_images(faces, spec).origins
    assert set(origins[masks["stylegan-stylegan"]]) == {"stylegan-stylegan", "ffhq-real", "amfd-real"}
    assert set(origins[masks["lfw-faceswap"]]) == {"lfw-faceswap", "lfw-real"}


def test_an_abstention_is_no_alarm_and_counts_against_coverage():
    m, i, a = Verdict.MANIPULATED, Verdict.INCONCLUSIVE, Verdict.AUTHENTIC
    row = sections.describe(judged([0, 0, 0, 1, 1, 1], [0.2, 0.99, 0.4, 0.9, 0.98, 0.3], [a, i, a, m, m, i]))
    assert (row["false_alarms"], row["detected"], row["inconclusive"]) == (0, 2, 2)
    assert row["coverage"] == pytest.approx(0.6667)
    assert row["auc"]["value"] < 1  # ranked with what it would have said
    assert row["balanced_accuracy"]["value"] == 1.0  # over what it did say
    assert row["false_alarms_at_most"] == pytest.approx(metrics.upper_bound(0, 3), abs=1e-4)


def test_a_report_is_complete_and_written_in_every_form(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "read_manifests", lambda paths: samples[::12])
    monkeypatch.setattr(evaluate, "everyday", lambda: [c for c in everyday() if c.kind == "beauty filter"])
    monkeypatch.setattr(evaluate, "gend", list)
    monkeypatch.setattr(evaluate, "deeper_forensics", list)
    report = evaluate.run(
        evaluate.Plan(manifests=(tmp_path / "m.csv",), output=tmp_path, robustness_faces=12, threads=1)
    )
    spec = find_model()
    assert report["model"]["sha256"] == spec.sha256
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))
    assert spec.sha256 in (tmp_path / "report.md").read_text()
    with (tmp_path / "report.csv").open(newline="") as file:
        figures = dict(csv.reader(file))
    assert float(figures["videos.overall.mean_auc.value"]) == report["videos"]["overall"]["mean_auc"]["value"]
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len({s.video for s in samples[::12]})
    assert {"roc.svg", "reliability.svg", "scores.svg", "robustness.svg"} <= {p.name for p in tmp_path.iterdir()}
    losses = [row for row in report["bars"] if row["name"].startswith("loss of AUC")]
    assert [row["limit"] for row in losses] == [0.08] * 3
    assert all(row["met"] == (row["measured"] <= 0.08) for row in losses)


def test_no_rows_of_the_split_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "read_manifests", lambda paths: [])
    with pytest.raises(ValueError, match="no rows"):
        evaluate.run(evaluate.Plan(manifests=(tmp_path / "m.csv",), output=tmp_path))


def test_what_is_missing_is_a_dash_and_not_a_number():
    assert tables.interval(None) == "–"
    assert tables.interval({"value": None, "low": None, "high": None}) == "–"
    assert tables.percent({"value": 0.015, "low": 0.003, "high": 0.044}) == "1.5 % (0.3 to 4.4)"


def test_plots_are_the_same_bytes_every_time_and_carry_text(tmp_path):
    part = judged([0, 1] * 20, np.linspace(0, 1, 40))
    first, second = (plots.roc(part, tmp_path / f"{i}.svg").read_bytes() for i in (1, 2))
    assert first == second
    text = first.decode()
    assert "<text" in text
    assert "lfw-swap" in text
    model = {kind: {"suspicious": 0.6, "manipulated": 0.9 if kind == "image" else 0.8} for kind in ("image", "video")}
    drawn = plots.histogram(part, model, tmp_path / "h.svg").read_text()
    assert "manipulated, video" in drawn
    assert "<svg" in plots.reliability(metrics.reliability(part.labels, part.scores), tmp_path / "r.svg").read_text()


def test_a_collection_may_have_a_hyphen_in_its_name():
    origins = np.array(["my-videos-real", "my-real", "my-videos-face-swap", "ffhq-real"])
    assert reals_of("my-videos-face-swap", origins).tolist() == [True, False, False, False]
    assert reals_of("stylegan-stylegan", origins).tolist() == [False, False, False, True]
