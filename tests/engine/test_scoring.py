"""A second model beside the one that judges: the same faces, its own crops, and no harm to the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.engine import runtimes
from detection.engine.classifier import Prediction
from detection.engine.errors import ModelError
from detection.engine.factory import EngineConfig, pipeline_of
from detection.engine.pipeline import Pipeline
from detection.engine.registry import find_model
from detection.engine.scoring import Challenger
from tests.conftest import PROJECT_ROOT

PORTRAIT = PROJECT_ROOT / "static" / "samples" / "astronaut.jpg"
SPEC = find_model()


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return pipeline_of(SPEC, EngineConfig(sandbox=None))


@pytest.fixture(scope="module")
def classifier():
    return runtimes.load(SPEC)


@pytest.mark.parametrize("margin", [SPEC.crop_margin, 3.4])
def test_it_says_what_a_pipeline_with_its_model_would(pipeline: Pipeline, classifier, margin: float):
    spec = replace(SPEC, crop_margin=margin)
    challenger = Challenger(spec, batch_size=1)
    result = pipeline.run(PORTRAIT, challenger=challenger)
    alone = pipeline_of(spec, EngineConfig(sandbox=None)).run(PORTRAIT)
    said = challenger.judge(result.media, classifier)
    assert (said.verdict, said.score) == (alone.verdict, alone.score)
    assert (result.score == alone.score) == (spec == SPEC)


def test_where_there_is_no_face_it_cannot_tell_either(pipeline: Pipeline, classifier, tmp_path: Path):
    empty = tmp_path / "wall.png"
    cv2.imwrite(str(empty), np.full((240, 320, 3), 128, np.uint8))
    challenger = Challenger(SPEC)
    result = pipeline.run(empty, challenger=challenger)
    assert challenger.judge(result.media, classifier).verdict == result.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("changed", "raised"),
    [({"input_size": 0}, (ValueError, cv2.error)), ({"crop_margin": float("inf")}, OverflowError)],
)
def test_one_that_cannot_even_cut_faces_does_not_disturb(pipeline: Pipeline, classifier, changed: dict, raised):
    challenger = Challenger(replace(SPEC, **changed))
    result = pipeline.run(PORTRAIT, challenger=challenger)
    assert result.score == pipeline.run(PORTRAIT).score
    with pytest.raises(raised):
        challenger.judge(result.media, classifier)


class Speechless:
    """A network with a broken weight."""

    batch_size = 1

    def predict(self, crops: np.ndarray) -> Prediction:
        return Prediction(np.full(len(crops), np.nan, np.float32), None)


def test_what_is_no_number_is_no_verdict():
    pipeline = pipeline_of(SPEC, EngineConfig(sandbox=None))
    pipeline._classifier = Speechless()
    with pytest.raises(ModelError, match="gave no number"):
        pipeline.run(PORTRAIT)
