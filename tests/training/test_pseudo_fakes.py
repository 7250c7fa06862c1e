"""Pseudo-fakes: a pair of one shape that differs inside the mask and nowhere else."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from detection.engine.preprocessing import face_scale
from detection.training import masks, pseudo_fakes, reencoding, warps
from detection.training.augment import training_crop
from detection.training.datasets import Sample
from detection.training.distractors import distract
from detection.training.mesh import MeshFinder, model_path
from detection.training.pseudo_fakes import DEFAULT_KINDS, KINDS, Donor, make_pair
from detection.training.sheet import contact_sheet
from tests.conftest import lacking
from tests.portraits import BEN, LANDMARKS, portrait

SIDE = 240
POINTS = LANDMARKS * SIDE
FORGERIES = sorted(set(KINDS) - {"negative"})


@cache
def anna():
    """Drawn faces are flat; grain gives them the texture that a photograph has."""
    grain = np.random.default_rng(0).normal(0, 9, (SIDE, SIDE, 3))
    return np.clip(portrait(SIDE) + grain, 0, 255).astype(np.uint8)


@cache
def ben():
    return portrait(SIDE, BEN)


@cache
def mesh_of_anna():
    try:
        model_path()
    except FileNotFoundError as error:
        lacking(str(error))
    return MeshFinder(threads=1).find(portrait(SIDE), POINTS)[0]


def pair(kind, seed, *, mesh=True, donor=True):
    points = mesh_of_anna() if mesh else None
    lender = Donor(ben(), POINTS, points) if donor else None
    return make_pair(anna(), POINTS, points, np.random.default_rng(seed), lender, {kind: 1.0})


@pytest.fixture
def undistracted(monkeypatch):
    """Nothing in front of the faces: a badly compressed block reaches a few pixels further than the edit in it."""
    monkeypatch.setattr(pseudo_fakes, "DISTRACTED", 0.0)


@pytest.mark.parametrize("mesh", [True, False], ids=["mesh", "landmarks"])
@pytest.mark.parametrize("kind", FORGERIES)
def test_a_fake_differs_inside_its_mask_only(kind, mesh, undistracted):
    for seed in range(4):
        blend = pair(kind, seed, mesh=mesh)
        assert blend.real.shape == blend.fake.shape == anna().shape
        assert blend.real.dtype == blend.fake.dtype == np.uint8
        assert blend.mask.shape == anna().shape[:2]
        assert blend.mask.dtype == np.float32
        assert 0 <= blend.mask.min() <= blend.mask.max() <= 1
        assert blend.manipulated
        change = np.abs(blend.real.astype(int) - blend.fake).max(axis=2)
        assert change[blend.mask == 0].max(initial=0) == 0
        assert change.max() > 2


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_same_state_gives_the_same_pair(kind):
    first, second = pair(kind, 5), pair(kind, 5)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_without_a_donor_a_swap_becomes_a_self_blend():
    assert pair("cross", 1, donor=False).manipulated


def test_a_donor_in_another_pose_is_turned_down(undistracted):
    squeezed = mesh_of_anna() * np.float32([0.45, 1.0])
    assert warps.misfit(mesh_of_anna(), mesh_of_anna()) < 0.01
    assert warps.misfit(squeezed, mesh_of_anna()) > pseudo_fakes.MAX_MISFIT


def test_a_negative_pair_is_one_picture_twice_and_says_so():
    for seed in range(6):
        blend = pair("negative", seed)
        assert not blend.manipulated
        assert np.array_equal(blend.real, blend.fake)


def test_by_default_every_fake_is_one_and_every_kind_is_known():
    assert set(DEFAULT_KINDS) <= set(KINDS)
    assert "negative" not in DEFAULT_KINDS
    assert sum(DEFAULT_KINDS.values()) == pytest.approx(1)


def test_an_unknown_kind_is_refused():
    with pytest.raises(KeyError, match="deep"):
        make_pair(anna(), POINTS, None, np.random.default_rng(0), None, {"deep": 1.0})


def test_some_reals_carry_the_change_too():
    """Softness or colour by themselves must be no sign: the real one is the target after its own change."""
    changed = [not np.array_equal(pair("self", seed, mesh=False).real, anna()) for seed in range(40)]
    assert 8 < sum(changed) < 34


def test_a_pair_cut_by_the_same_draw_still_differs_where_its_mask_is(undistracted, monkeypatch):
    """Lossy codecs spread a change over blocks; what only moves pixels must not."""
    monkeypatch.setattr("detection.training.augment.degrade", lambda image, _: image)
    blend = pair("soft", 3)
    (real, mask), (fake, _) = (
        training_crop(p, POINTS, margin=2.9, size=160, rng=np.random.default_rng(8), mask=blend.mask)
        for p in (blend.real, blend.fake)
    )
    assert mask is not None
    assert mask.shape == (160, 160)
    change = np.abs(real.astype(int) - fake).max(axis=2)
    assert change.max() > 0
    assert change[mask == 0].max() <= 1


@pytest.mark.parametrize("family", sorted(masks.FAMILIES))
def test_each_family_of_masks_is_on_the_face(family):
    for seed in range(5):
        mask = masks.face_mask((SIDE, SIDE), POINTS, np.random.default_rng(seed), mesh_of_anna(), [family])
        assert mask.dtype == np.float32
        assert 0 <= mask.min() < 0.01
        assert 0.5 < mask.max() <= 1
        ys, xs = np.nonzero(mask > 0.3)
        low, high = mesh_of_anna().min(axis=0), mesh_of_anna().max(axis=0)
        reach = 0.4 * face_scale(POINTS)
        assert xs.min() > low[0] - reach
        assert xs.max() < high[0] + reach
        assert ys.min() > low[1] - reach
        assert ys.max() < high[1] + reach


def test_masks_differ_in_size_and_in_softness():
    drawn = [masks.face_mask((SIDE, SIDE), POINTS, np.random.default_rng(s), mesh_of_anna()) for s in range(40)]
    areas = [mask.sum() for mask in drawn]
    assert max(areas) > 5 * min(areas)
    edges = [((mask > 0.05) & (mask < 0.95)).sum() / max((mask > 0.05).sum(), 1) for mask in drawn]
    assert min(edges) < 0.15
    assert max(edges) > 0.6


def test_a_warp_brings_points_where_they_should_be():
    dot = np.zeros((SIDE, SIDE, 3), np.uint8)
    points = np.float32([[60, 60], [180, 60], [120, 120], [120, 180]])
    target = points @ np.float32([[0.9, 0.1], [-0.1, 0.9]]).T + 10
    dot[118:123, 118:123] = 255
    moved = warps.warp_to(dot, points, target, (SIDE, SIDE))
    ys, xs = np.nonzero(moved[..., 0] > 100)
    assert np.allclose([xs.mean(), ys.mean()], target[2], atol=1.5)


def test_an_expression_moves_the_mouth_and_leaves_the_eyes():
    moved = warps.change_expression(anna(), POINTS, mesh_of_anna(), np.random.default_rng(2))
    change = np.abs(moved.astype(int) - anna()).max(axis=2)
    eye, mouth = POINTS[0].astype(int), POINTS[3].astype(int)
    assert change[mouth[1] - 12 : mouth[1] + 12, mouth[0] - 20 : mouth[0] + 20].max() > 10
    assert change[eye[1] - 8 : eye[1] + 8, eye[0] - 8 : eye[0] + 8].max() <= 3


def test_an_injected_pattern_shows_in_the_spectrum_only():
    flat = np.full((128, 128, 3), 120, np.uint8)
    marked = reencoding.with_pattern(flat, np.random.default_rng(1))
    spectrum = np.abs(np.fft.fft2(marked.mean(axis=2) - marked.mean()))
    assert np.abs(marked.astype(int) - flat).max() < 20
    assert spectrum.max() > 50 * (np.median(spectrum) + 1)


@pytest.mark.parametrize("seed", range(6))
def test_a_re_encoded_face_is_the_same_face_with_other_texture(seed):
    again = reencoding.reencode(anna(), face_scale(POINTS), np.random.default_rng(seed))
    assert again.shape == anna().shape
    difference = np.abs(again.astype(int) - anna()).mean()
    assert 0.2 < difference < 25


def test_the_contact_sheet_shows_every_kind(tmp_path):
    samples = []
    for name, picture in (("anna", anna()), ("ben", ben())):
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), picture)
        samples.append(Sample(path, 0, "drawn", "real", "train", name, name, POINTS))
    sheet = contact_sheet(samples, {}, np.random.default_rng(0), rows=1, size=64)
    assert sheet.shape == (64 * len(KINDS), 64 * 12, 3)
    assert sheet.dtype == np.uint8


@pytest.mark.parametrize("seed", range(10))
def test_a_distractor_is_the_same_in_both_pictures(seed):
    first, second = (distract(p, POINTS, np.random.default_rng(seed)) for p in (anna(), ben()))
    assert np.array_equal(first.cover, second.cover)
    covered = first.cover >= 1
    assert np.abs(first.image.astype(int) - second.image)[covered].max(initial=0) <= 40  # anti-aliased rims
    assert first.image.shape == anna().shape
