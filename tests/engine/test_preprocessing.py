"""The crop: the same for every face detector, whole at the edges, measured honestly."""

from __future__ import annotations

import numpy as np
import pytest

from detection.engine.preprocessing import blockiness, crop_box, extract, face_scale, quality
from detection.engine.types import Box, Face

# right eye, left eye, nose, mouth of an upright face: eyes 40 px apart, mouth 50 px below them
UPRIGHT = np.array([[80, 100], [120, 100], [100, 125], [100, 150]], np.float32)


def test_scale_is_eyes_to_mouth():
    assert face_scale(UPRIGHT) == pytest.approx(50.0)


def test_scale_of_a_bowed_head_is_eye_to_eye():
    bowed = UPRIGHT.copy()
    bowed[3] = [100, 115]
    assert face_scale(bowed) == pytest.approx(40.0)


def test_the_crop_is_a_square_around_eyes_and_mouth():
    box = crop_box(UPRIGHT, 3.0)
    assert (box.width, box.height) == (150, 150)
    assert box.centre == pytest.approx((100, 120), abs=1)


def test_the_crop_moves_and_grows_with_the_face():
    box, moved = crop_box(UPRIGHT, 3.0), crop_box(UPRIGHT * 2 + 7, 3.0)
    assert moved.width == 2 * box.width
    assert moved.centre == pytest.approx((2 * box.centre[0] + 7, 2 * box.centre[1] + 7), abs=1)


@pytest.mark.parametrize("size", [16, 150, 300])
def test_extract_gives_the_wanted_size(size):
    picture = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    crop = extract(picture, Box(10, 20, 160, 170), size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert crop.flags.c_contiguous


def test_extract_at_native_size_copies_pixels():
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    assert np.array_equal(extract(picture, Box(5, 7, 55, 57), 50), picture[7:57, 5:55])


def test_what_lies_outside_is_mirrored_not_black():
    picture = np.full((50, 50, 3), 200, np.uint8)
    assert extract(picture, Box(-20, -20, 40, 40), 60).min() == 200


def test_a_box_wholly_outside_gives_black():
    assert extract(np.full((50, 50, 3), 9, np.uint8), Box(60, 60, 90, 90), 30).max() == 0


def test_quality_tells_sharp_from_flat_and_whole_from_cut():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (300, 300, 3)).astype(np.uint8)
    face = Face(Box(60, 60, 140, 180), UPRIGHT, 0.9)
    box = crop_box(UPRIGHT, 3.0)
    noisy = quality(picture, face, box, extract(picture, box, 96))
    flat = quality(picture, face, box, np.full((96, 96, 3), 40, np.uint8))
    assert noisy.sharpness > 100 > flat.sharpness == 0
    assert flat.brightness == pytest.approx(40)
    assert noisy.face_size == pytest.approx(110)
    assert noisy.detail == 1.0
    half_out = Box(-75, 0, 75, 150)
    assert quality(picture, face, half_out, extract(picture, half_out, 96)).detail == pytest.approx(0.5)


def mosaic(step: int, block: int = 8, offset: int = 0) -> np.ndarray:
    """Fine noise, and a brightness of its own for each block of ``block`` pixels."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, step + 1, (24, 24)).repeat(block, 0).repeat(block, 1)[offset:, offset:]
    grey = 100 + tiles + rng.integers(0, 6, tiles.shape)
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def test_blockiness_grows_with_the_steps_between_blocks():
    whole = Box(0, 0, 192, 192)
    none, some, strong = (blockiness(mosaic(step), whole) for step in (0, 6, 30))
    assert none == pytest.approx(1.0, abs=0.1)
    assert none < some < strong


def test_blocks_lie_where_the_picture_begins_wherever_the_face_is():
    picture = mosaic(20)
    here, there = blockiness(picture, Box(16, 16, 112, 112)), blockiness(picture, Box(21, 35, 117, 131))
    assert min(here, there) > 1.5


@pytest.mark.parametrize(("block", "offset"), [(12, 0), (8, 2)])
def test_a_grid_that_is_not_the_codecs_is_no_compression(block, offset):
    assert blockiness(mosaic(20, block, offset), Box(0, 0, 184, 184)) < 1.4


@pytest.mark.parametrize("box", [Box(0, 0, 12, 40), Box(40, 40, 40, 40), Box(60, 60, 50, 90)])
def test_too_small_a_part_shows_no_blocks(box):
    assert blockiness(mosaic(30), box) == 1.0


def test_a_flat_picture_shows_no_blocks():
    assert blockiness(np.full((64, 64, 3), 255, np.uint8), Box(0, 0, 64, 64)) == 1.0
