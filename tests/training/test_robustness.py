"""Perturbations do what their names say, alike for everybody, and the suite measures what they cost."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from detection.engine.classifier import Prediction
from detection.training import perturbations, robustness
from detection.training.datasets import Sample
from detection.training.scoring import Detector
from tests.engine.builders import SPEC
from tests.portraits import LANDMARKS, portrait

ALL = [*perturbations.deeper_forensics(), *perturbations.gend(), *perturbations.everyday(), *perturbations.barred()]


def lively(side=160, seed=0):
    """A portrait with the grain of a camera."""
    grain = np.random.default_rng(seed).normal(0, 5, (side, side, 3))
    return np.clip(portrait(side) + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("cell", ALL, ids=lambda cell: f"{cell.suite}: {cell.name}")
def test_every_cell_changes_the_picture_and_repeats_itself(cell):
    image = lively()
    before = image.copy()
    first, second = (cell.apply(image, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(image, before)
    assert np.array_equal(first, second)
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    # A side may be rounded, the shape of the picture may not change.
    assert first.shape[0] / first.shape[1] == pytest.approx(1.0, abs=0.02)
    assert first.shape != image.shape or not np.array_equal(first, image)


def test_the_suites_are_as_large_as_published():
    assert len(perturbations.deeper_forensics()) == 7 * 5
    assert [cell.name for cell in perturbations.barred()] == ["H.264 CRF 35", "JPEG quality 40", "half size"]
    assert len({(cell.suite, cell.name) for cell in ALL}) == len(ALL)


@pytest.mark.parametrize("kind", ["saturation", "colour noise", "Gaussian blur", "pixelation", "H.264", "contrast"])
def test_levels_grow_worse(kind):
    image = lively()
    cells = [cell for cell in perturbations.deeper_forensics() if cell.kind == kind]
    errors = [np.square(cell.apply(image, np.random.default_rng(7)).astype(float) - image).mean() for cell in cells]
    assert errors == sorted(errors)


def test_full_desaturation_leaves_grey():
    grey = perturbations.saturation(lively(), factor=0.0).astype(int)
    assert np.ptp(grey, axis=2).max() <= 3


def test_h264_keeps_the_place_and_odd_sizes_and_costs_what_a_crf_costs():
    image = lively(161)
    mild, harsh = perturbations.h264(image, 23), perturbations.h264(image, 40)
    assert mild.shape == harsh.shape == image.shape
    assert cv2.PSNR(image, mild) > cv2.PSNR(image, harsh) + 3
    # A picture that came back a pixel aside would fit worse than this.
    moved = np.roll(mild, 1, axis=1)
    assert cv2.PSNR(image[8:-8, 8:-8], mild[8:-8, 8:-8]) > cv2.PSNR(image[8:-8, 8:-8], moved[8:-8, 8:-8]) + 3


class Green:
    """Calls a face manipulated by the green of its mouth, less surely the greyer the picture is."""

    def predict(self, crops):
        lower = crops[:, 16:, :, :].astype(float)
        logits = ((lower[..., 1] - lower[..., 0]).mean(axis=(1, 2)) / 10).astype(np.float32)
        return Prediction(logits, logits[:, None, None])


@pytest.fixture
def samples(tmp_path):
    """Twelve people, one real and one manipulated picture of each; the latter have green mouths."""
    result = []
    for i in range(12):
        for label in (0, 1):
            picture = lively(seed=i)
            if label:
                picture[100:130, 55:105, 1] = 220
            path = tmp_path / f"{label}-{i}.png"
            cv2.imwrite(str(path), picture[..., ::-1])
            method = "faceswap" if label else "real"
            result.append(Sample(path, label, "lfw", method, "val", f"lfw/{i}", f"lfw/{method}/{i}", LANDMARKS * 160))
    return result


@pytest.fixture
def detector():
    limits = replace(SPEC.quality, min_sharpness=0, min_brightness=0, min_face_size=50)
    return Detector(replace(SPEC, quality=limits), Green())


def test_what_a_perturbation_costs_is_measured_against_the_same_files(samples, detector):
    cells = [cell for cell in perturbations.deeper_forensics() if cell.kind == "saturation"]
    clean, *rows = robustness.measure(samples, detector, cells)
    assert clean["auc"]["value"] == 1.0
    assert clean["loss"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert clean["auc_by_origin"] == {"lfw-faceswap": 1.0}
    assert rows[-1]["level"] == "level 5"
    assert rows[-1]["loss"]["value"] > 0.2  # no colour, no cue
    assert rows[0]["reals"] == 12
    summary = robustness.summary([clean, *rows])
    assert summary["cells"] == 5
    assert summary["worst_auc"] == min(row["auc"]["value"] for row in rows)


def test_landmarks_follow_a_picture_that_shrinks_and_coverage_is_reported(samples, detector):
    half = [cell for cell in perturbations.barred() if cell.name == "half size"]
    clean, row = robustness.measure(samples, detector, half)
    assert row["auc"]["value"] == 1.0  # the mouth is still found
    assert clean["coverage"] == 1.0
    assert row["coverage"] == 0.0  # but the face is below 50 px


def test_the_balanced_choice_is_balanced_and_always_the_same(samples):
    chosen = robustness.balanced(samples, 8)
    assert [s.label for s in chosen].count(0) == [s.label for s in chosen].count(1) == 4
    assert {s.path for s in chosen} == {s.path for s in robustness.balanced(samples[::-1], 8)}


def test_a_video_is_encoded_anew_as_often_as_the_chain_says(tmp_path):
    source = tmp_path / "clip.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(50):
            picture = np.ascontiguousarray(np.roll(lively(160), i, axis=1)[:96])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    result = perturbations.recode(source, ((0.5, 18), (96, 35)), tmp_path, seconds=1.0)
    assert source.exists()
    with av.open(str(result)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (160, 96, Fraction(25))
        assert sum(1 for _ in container.decode(video=0)) == 25
