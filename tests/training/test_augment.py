"""Degradations: same size, same draw for a pair, and codecs that lose more the harder they are asked to."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from detection.training import augment, degradations

LANDMARKS = np.array([[70, 80], [130, 80], [100, 115], [100, 145]], np.float32)


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(0).integers(0, 255, (220, 200, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def loss(before, after):
    return float(np.abs(before.astype(int) - after).mean())


@pytest.mark.parametrize("seed", range(30))
def test_degradation_keeps_shape_and_type(picture, seed):
    degraded = augment.degrade(picture, np.random.default_rng(seed))
    assert degraded.shape == picture.shape
    assert degraded.dtype == np.uint8


@pytest.mark.parametrize("seed", range(30))
def test_a_draw_can_be_replayed_on_another_picture(picture, seed):
    """The generator ends in the same state whatever was in the picture, so a pair stays in step."""
    states = []
    for content in (picture, 255 - picture, np.zeros_like(picture)):
        rng = np.random.default_rng(seed)
        augment.degrade(content, rng)
        states.append(rng.bit_generator.state["state"])
    assert states[0] == states[1] == states[2]


def test_the_same_draw_gives_the_same_degradation(picture):
    for seed in range(8):
        first, second = (augment.degrade(picture, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(first, second)


def test_most_pictures_change_moderately_and_a_few_badly(picture):
    losses = sorted(loss(picture, augment.degrade(picture, np.random.default_rng(seed))) for seed in range(80))
    assert losses[8] < 0.5 * losses[40]  # nearly untouched
    assert losses[-6] > 1.8 * losses[40]


def test_lower_jpeg_quality_loses_more(picture):
    assert loss(picture, augment.jpeg(picture, 30)) > loss(picture, augment.jpeg(picture, 90)) > 0


def test_h264_loses_more_the_higher_its_rate_factor(picture):
    losses = [loss(picture, degradations.h264(picture, crf, step=(1, 0))) for crf in (18, 26, 34, 40)]
    assert losses == sorted(losses)
    assert losses[-1] > 1.5 * losses[0] > 0


@pytest.mark.parametrize("step", [(0, 0), (2, 0), (-2, 1), (1, -2)])
@pytest.mark.parametrize("frames", [1, 3])
def test_h264_gives_the_picture_back_in_place(picture, step, frames):
    odd = np.ascontiguousarray(picture[:111, :97])
    coded = degradations.h264(odd, 16, step=step, frames=frames)
    assert coded.shape == odd.shape
    away = loss(odd[:, 2:], coded[:, :-2])
    assert loss(odd, coded) < 0.5 * away


@pytest.mark.parametrize("step", ["colour", "noise", "beautify", "recapture", "blur_or_sharpen", "resize_chain"])
def test_each_step_does_something_but_not_too_much(picture, step):
    for seed in range(6):
        changed = getattr(degradations, step)(picture, np.random.default_rng(seed))
        assert changed.shape == picture.shape
        assert changed.dtype == np.uint8
        assert loss(picture, changed) < 60
    assert any(
        not np.array_equal(getattr(degradations, step)(picture, np.random.default_rng(s)), picture) for s in range(6)
    )


@pytest.mark.parametrize(("codec", "good", "bad"), [("webp", 95, 10), ("jpeg2000", 400, 10)])
def test_other_codecs_lose_more_when_asked_to(picture, codec, good, bad):
    run = getattr(degradations, codec)
    assert loss(picture, run(picture, bad)) > loss(picture, run(picture, good))


def test_motion_blur_smears_along_its_direction_only():
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[20, 20] = 255
    smeared = degradations.motion_blur(dot, 7, 0)
    ys, xs = np.nonzero(smeared[..., 0])
    assert np.ptp(xs) >= 5
    assert np.ptp(ys) <= 2


def test_the_training_crop_has_the_networks_size(picture):
    crop, mask = augment.training_crop(picture, LANDMARKS, margin=2.9, size=96, rng=np.random.default_rng(0))
    assert crop.shape == (96, 96, 3)
    assert crop.flags.c_contiguous
    assert mask is None


@pytest.mark.parametrize("seed", range(8))
def test_a_mask_is_cut_and_mirrored_like_its_picture(seed, monkeypatch):
    monkeypatch.setattr(augment, "degrade", lambda image, _: image)
    mask = np.zeros((220, 200), np.float32)
    mask[60:100, 40:90] = 1
    picture = np.repeat((mask * 255).astype(np.uint8)[..., None], 3, axis=2)
    crop, cut = augment.training_crop(
        picture, LANDMARKS, margin=4.0, size=120, rng=np.random.default_rng(seed), mask=mask
    )
    assert cut is not None
    assert cut.dtype == np.float32
    assert np.abs(crop[..., 0] / 255 - cut).max() < 0.02
