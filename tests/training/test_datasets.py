"""Splits: nobody who is calibrated or validated on may be trained on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from detection.training.datasets import (
    four_points,
    in_calibration,
    leave_out,
    linked_groups,
    read_manifest,
    read_manifests,
)
from detection.training.layouts import read_layout


def test_pairs_join_identities():
    groups = linked_groups(["033", "097", "033_097", "097_033", "004"])
    assert groups["033"] == groups["097"] == groups["033_097"] == groups["097_033"]
    assert groups["004"] != groups["033"]


@pytest.fixture
def samples(shared_data):
    return read_manifest(shared_data / "faces" / "manifest.csv")


def test_splits_are_disjoint_by_identity(samples):
    people: dict[str, set[str]] = {}
    for sample in samples:
        people.setdefault(sample.split, set()).add(sample.group)
    assert set(people) == {"train", "calibration", "val"}
    assert not people["train"] & people["calibration"]
    assert not people["train"] & people["val"]
    assert not people["calibration"] & people["val"]


def test_calibration_has_both_classes_of_every_pair_source(samples):
    origins = {s.origin for s in samples if s.split == "calibration"}
    assert {
        "ffpp-real",
        "ffpp-deepfakes",
        "ffpp-face2face",
        "ffpp-faceswap",
        "ffpp-neuraltextures",
    } <= origins
    assert {"ciplab-real", "ciplab-photoshop", "openforensics-real", "openforensics-gan-blend"} <= origins


def write_manifest(path: Path, *rows: dict[str, str]) -> Path:
    """A manifest of ``rows``, each completed with something harmless."""
    usual = {
        "file": "a.jpg", "label": "0", "dataset": "d", "method": "real", "split": "train", "group": "g",
        "source": "s", "frame": "0", "landmarks": "10,20 30,20 20,30 20,42",
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, usual)
        writer.writeheader()
        writer.writerows({**usual, **row} for row in rows)
    return path


@pytest.mark.parametrize("points", ["10,20 30,20 20,30 12,40 28,44", "10,20 30,20 20,30 20,42"])
def test_landmarks_become_eyes_nose_and_the_middle_of_the_mouth(tmp_path, points):
    (sample,) = read_manifest(write_manifest(tmp_path / "manifest.csv", {"landmarks": points}))
    assert np.array_equal(sample.landmarks, np.array([[10, 20], [30, 20], [20, 30], [20, 42]], np.float32))


def test_three_points_are_no_face():
    with pytest.raises(ValueError, match="four or five points"):
        four_points("1,2 3,4 5,6")


def test_families_are_named_the_same_in_any_order():
    names = ["044", "945_044", "945", "033_097", "097"]
    assert linked_groups(names) == linked_groups(names[::-1])
    assert linked_groups(names)["945"] == "044"


def test_manifests_are_read_together_and_their_identities_linked(tmp_path):
    crops = write_manifest(tmp_path / "a" / "manifest.csv", {"dataset": "ffpp", "group": "945"})
    fakes = write_manifest(tmp_path / "b" / "manifest.csv", {"dataset": "ffpp", "group": "044_945", "label": "1"})
    for order in ([crops, fakes], [fakes, crops]):
        samples = read_manifests(order)
        assert {s.group for s in samples} == {"ffpp/044"}
        assert {s.path.parent.name for s in samples} == {"a", "b"}


def test_somebody_in_two_splits_is_refused(tmp_path):
    one = write_manifest(tmp_path / "a" / "manifest.csv", {"group": "ann", "split": "train"})
    other = write_manifest(tmp_path / "b" / "manifest.csv", {"group": "ann", "split": "val"})
    assert read_manifest(one)
    assert read_manifest(other)
    with pytest.raises(ValueError, match="d/ann is in both train and val"):
        read_manifests([one, other])


def test_a_manifest_that_names_its_calibration_rows_is_taken_at_its_word(tmp_path):
    name = next(f"p{i}" for i in range(99) if in_calibration(f"d/p{i}"))
    left_to_us = write_manifest(tmp_path / "a.csv", {"group": name})
    settled = write_manifest(tmp_path / "b.csv", {"group": name}, {"group": "x", "split": "calibration"})
    assert [s.split for s in read_manifest(left_to_us)] == ["calibration"]
    assert [s.split for s in read_manifest(settled)] == ["train", "calibration"]


def test_a_manipulation_can_be_left_out_and_a_misspelt_one_cannot(samples):
    rest = leave_out(samples, ["ffpp-faceswap"])
    assert {s.origin for s in samples} - {s.origin for s in rest} == {"ffpp-faceswap"}
    with pytest.raises(ValueError, match="ffpp-faceswpa"):
        leave_out(samples, ["ffpp-faceswpa"])
    assert leave_out(samples, []) == samples


def test_our_faces_and_our_clips_have_nobody_in_two_splits(shared_data, tmp_path):
    """Clips are cut by ``prepare``; what it would list for them must split as the faces of the same people do."""
    media = read_layout(shared_data / "clips")
    keys = ("label", "dataset", "method", "split", "group", "source")
    clips = write_manifest(tmp_path / "manifest.csv", *({k: str(getattr(m, k)) for k in keys} for m in media))
    faces = shared_data / "faces" / "manifest.csv"
    together = read_manifests([faces, clips])
    splits: dict[str, set[str]] = {}
    for sample in together:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert all(len(found) == 1 for found in splits.values())
    # Nor does reading one with the other move anybody to another split.
    assert [s.split for s in together] == [s.split for s in (*read_manifest(faces), *read_manifest(clips))]
    assert {s.split for s in together[-len(media) :]} == {"train", "calibration", "val"}
