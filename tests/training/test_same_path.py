"""One way to a score: training, evaluation and serving cut and score the same pixels."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.pipeline import Pipeline
from detection.engine.preprocessing import crop_box, extract
from detection.engine.registry import ModelSpec, find_model
from detection.engine.runtimes.litert import LiteRTClassifier
from detection.engine.types import FaceScore
from detection.training.agreement import TOLERANCE, with_engine
from detection.training.datasets import read_manifest
from detection.training.prepare import Options, prepare
from detection.training.scoring import Detector


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return find_model()


def test_a_hundred_crops_score_the_same_in_the_engine_and_in_training(shared_data, spec):
    """The engine reads the files with its own decoder, cuts and scores; the face detector is told where they are."""
    samples = read_manifest(shared_data / "faces" / "manifest.csv")
    result = with_engine(samples, Detector(spec, LiteRTClassifier(spec)), number=100)
    assert result["crops"] == 100
    assert result["largest_score_difference"] <= TOLERANCE


def scored(pipeline: Pipeline, path) -> Iterator[FaceScore]:
    (track,) = pipeline.run(path).tracks
    return iter(track.scores)


def test_prepared_crops_of_a_video_are_what_serving_sees(shared_data, spec, tmp_path):
    """``prepare`` keeps more of the picture than serving cuts; nothing may be lost or moved in between."""
    frames = 4
    for label, name in (("real", "035"), ("fake", "035_036")):
        method = "real" if label == "real" else "deepfakes"
        target = tmp_path / "mine" / "val" / label / f"{name}.mp4"
        target.parent.mkdir(parents=True)
        target.symlink_to((shared_data / "clips" / "val" / method / f"{name}.mp4").resolve())
    prepare(
        tmp_path / "mine",
        tmp_path / "crops",
        options=Options(frames=frames, jpeg_quality=None, longest_side=2000),
    )
    samples = read_manifest(tmp_path / "crops" / "manifest.csv")
    pipeline = build_pipeline(EngineConfig(frames=frames, threads=1))
    classifier = LiteRTClassifier(spec)
    for folder in (tmp_path / "mine" / "val").iterdir():
        for path in folder.iterdir():
            ours = [s for s in samples if s.video.endswith(f"/{path.stem}")]
            assert len(ours) == frames
            for sample, served in zip(ours, scored(pipeline, path), strict=True):
                crop = extract(sample.load(), crop_box(sample.landmarks, spec.crop_margin), spec.input_size)
                assert np.array_equal(crop, served.crop)
                assert classifier.predict(crop[None]).logits[0] == pytest.approx(served.logit, abs=1e-4)


def test_a_crop_at_the_edge_of_the_picture_is_mirrored_alike(spec):
    """What serving mirrors over a photo's edge, training mirrors over the same edge of the kept crop."""
    rng = np.random.default_rng(0)
    photo = np.asarray(cv2.resize(rng.integers(0, 255, (20, 30, 3), np.uint8), (360, 240)), np.uint8)
    landmarks = np.float32([[20, 60], [60, 60], [40, 80], [40, 105]])
    kept = photo[:220, :170]  # from the corner of the photo on
    box = crop_box(landmarks, spec.crop_margin)
    assert box.left < 0
    assert np.array_equal(extract(photo, box, 160), extract(kept, box, 160))
