"""Splits: nobody who is calibrated or validated on may be trained on."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from detection.training.datasets import linked_groups, read_manifest


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


def test_landmarks_become_eyes_nose_and_the_middle_of_the_mouth(tmp_path):
    row = {
        "file": "a.jpg", "label": 0, "dataset": "d", "method": "real", "split": "train", "group": "g",
        "source": "s", "frame": 0, "landmarks": "10,20 30,20 20,30 12,40 28,44",
    }  # fmt: skip
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    (sample,) = read_manifest(path)
    assert np.array_equal(sample.landmarks, np.array([[10, 20], [30, 20], [20, 30], [20, 42]], np.float32))
