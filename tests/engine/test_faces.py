"""Both face detectors keep the same promises; each has a few of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.engine import faces
from detection.engine.errors import ErrorCode, ModelError
from detection.engine.faces import BlazeFaceDetector, FaceDetector, YuNetDetector
from detection.engine.media import open_media
from detection.engine.types import Box, Face
from detection.engine.views import search_views
from tests.portraits import ANNA, BEN, CLEO, FACE_WIDTH, Picture, Points, portrait, scene

YUNET = "face_detection_yunet_2023mar.onnx"


@pytest.fixture(scope="module", params=["blazeface", "yunet"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    if request.param == "blazeface":
        return BlazeFaceDetector()
    models: Path = request.getfixturevalue("shared_models")
    return YuNetDetector(models / YUNET)


def distance(face: Face, truth: Points) -> float:
    """Mean distance of the landmarks from where they are, in distances from the eyes to the mouth."""
    unit = float(np.linalg.norm(truth[3] - truth[:2].mean(axis=0)))
    return float(np.linalg.norm(face.landmarks - truth, axis=1).mean()) / unit


def assert_well_formed(found: list[Face], image: Picture) -> None:
    height, width = image.shape[:2]
    for face in found:
        box = face.box
        assert all(type(side) is int for side in (box.left, box.top, box.right, box.bottom))
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height
        assert face.landmarks.shape == (4, 2)
        assert face.landmarks.dtype == np.float32
        assert 0 <= face.confidence <= 1
        assert type(face.confidence) is float
    assert [f.confidence for f in found] == sorted((f.confidence for f in found), reverse=True)


def test_has_a_name(detector: FaceDetector) -> None:
    assert detector.name in {"blazeface", "yunet"}


@pytest.mark.parametrize("side", [64, 120, 300, 700])
def test_finds_a_face_and_its_landmarks_in_our_order(detector: FaceDetector, side: int) -> None:
    image, [truth] = scene((1280, 720), [(ANNA, (310, 10), side)])
    found = detector.detect(image)
    assert_well_formed(found, image)
    assert len(found) == 1
    assert distance(found[0], truth) < 0.2
    assert 0.7 < found[0].box.width / (side * FACE_WIDTH) < 1.4


@pytest.mark.parametrize("place", [(0, 0), (1824, 0), (0, 984), (1824, 984), (913, 517), (640, 300)])
def test_finds_a_48_pixel_face_anywhere_in_a_1080p_frame(detector: FaceDetector, place: tuple[int, int]) -> None:
    image, [truth] = scene((1920, 1080), [(ANNA, place, 96)])
    found = detector.detect(image)
    assert_well_formed(found, image)
    assert len(found) == 1
    assert distance(found[0], truth) < 0.25


def test_finds_a_face_that_fills_the_picture(detector: FaceDetector) -> None:
    for side in (160, 1600):
        whole = portrait(side)
        tight = np.ascontiguousarray(whole[side // 6 : side * 5 // 6, side // 4 : side * 3 // 4])
        found = detector.detect(tight)
        assert_well_formed(found, tight)
        assert len(found) == 1
        assert found[0].box.iou(Box(0, 0, tight.shape[1], tight.shape[0])) > 0.4


@pytest.mark.parametrize("roll", [-30, -15, 15, 30])
def test_finds_rolled_heads(detector: FaceDetector, roll: int) -> None:
    image, [truth] = scene((854, 480), [(ANNA, (300, 100), 260)], roll=roll)
    [face] = detector.detect(image)
    assert distance(face, truth) < 0.3


def test_a_face_cut_by_the_edge_has_a_clipped_box(detector: FaceDetector) -> None:
    image, _ = scene((854, 480), [(ANNA, (-100, 100), 300)])
    [face] = detector.detect(image)
    assert_well_formed([face], image)
    assert face.box.left == 0


def test_finds_everybody_once(detector: FaceDetector) -> None:
    image, truths = scene((1920, 1080), [(ANNA, (60, 300), 400), (BEN, (800, 350), 240), (CLEO, (1500, 500), 160)])
    found = detector.detect(image)
    assert_well_formed(found, image)
    assert len(found) == 3
    for truth in truths:
        assert min(distance(face, truth) for face in found) < 0.25


def test_finds_a_grey_face_and_reads_any_memory_layout(detector: FaceDetector) -> None:
    image, _ = scene((640, 480), [(ANNA, (200, 100), 300)])
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert len(detector.detect(grey)) == 1
    mirrored = image[:, ::-1]
    assert not mirrored.flags.c_contiguous
    assert len(detector.detect(mirrored)) == 1


def test_the_same_picture_gives_the_same_faces_and_is_left_alone(detector: FaceDetector) -> None:
    image, _ = scene((640, 480), [(ANNA, (200, 100), 300)])
    before = image.copy()
    first, second = detector.detect(image), detector.detect(image)
    assert [f.box for f in first] == [f.box for f in second]
    assert np.array_equal(image, before)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (20, 20), (31, 33), (3, 700), (5000, 50), (50, 5000), (641, 359)])
def test_finds_nothing_in_noise_and_plain_colours_of_any_size(detector: FaceDetector, size: tuple[int, int]) -> None:
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for image in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        assert detector.detect(image) == []


@pytest.mark.parametrize("size", [(960, 32), (320, 20), (32, 960), (32, 32)])
def test_a_narrow_picture_never_gives_a_made_up_face(detector: FaceDetector, size: tuple[int, int]) -> None:
    # OpenCV's YuNet did, in up to 4 of 10 tries: whatever lay in memory. One try would prove little.
    rng = np.random.default_rng(0)
    for _ in range(40):
        assert detector.detect(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)) == []


def test_leaves_out_faces_too_small_to_judge(detector: FaceDetector) -> None:
    image, _ = scene((96, 96), [(ANNA, (30, 30), 20)])
    assert all(face.box.width >= faces.MIN_FACE_WIDTH for face in detector.detect(image))


def test_finds_most_real_faces(detector: FaceDetector, shared_data: Path) -> None:
    with (shared_data / "faces" / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"][::20]
    hits = 0
    for row in rows:
        image = cv2.cvtColor(cv2.imread(str(shared_data / "faces" / row["file"])), cv2.COLOR_BGR2RGB)
        left, top, width, height = (float(row[f"box_{side}"]) for side in "xywh")
        box = Box(round(left), round(top), round(left + width), round(top + height))
        found = detector.detect(image)
        assert_well_formed(found, image)
        hits += any(face.box.iou(box) >= 0.4 for face in found)
    assert hits / len(rows) >= 0.97


def test_finds_a_face_in_the_frames_of_real_clips(detector: FaceDetector, shared_data: Path) -> None:
    clips = sorted((shared_data / "clips" / "val" / "real").glob("*.mp4"))
    assert len(clips) == 8
    counts = []
    for clip in clips:
        with open_media(clip) as media:
            counts += [len(detector.detect(frame.image)) for frame in media.sample(3)]
    assert sum(count >= 1 for count in counts) / len(counts) >= 0.95
    assert sum(count > 1 for count in counts) / len(counts) <= 0.1


# --- BlazeFace alone -------------------------------------------------------------------------------


def test_the_search_leaves_no_part_of_the_picture_out_and_is_bounded() -> None:
    for width, height in [
        (1, 1),
        (640, 480),
        (1280, 720),
        (1920, 1080),
        (1080, 1920),
        (8000, 6000),
        (9000, 60),
    ]:
        views = search_views(width, height)
        assert len(views) <= 40
        finest = min(side for _, side in views)
        tiles = [(x, y, side) for (x, y), side in views if side == finest]
        for x, y in [(0, 0), (width, 0), (0, height), (width, height), (width / 3, height / 2)]:
            assert any(abs(x - cx) <= s / 2 + 1e-6 and abs(y - cy) <= s / 2 + 1e-6 for cx, cy, s in tiles)


def test_heads_on_their_side_are_found_by_the_upright_close_up() -> None:
    image, [truth] = scene((854, 480), [(ANNA, (300, 100), 260)], roll=50)
    [face] = BlazeFaceDetector().detect(image)
    assert distance(face, truth) < 0.3


def test_the_close_up_decides() -> None:
    image, _ = scene((854, 480), [(ANNA, (300, 100), 260)])
    assert BlazeFaceDetector(min_confidence=0.999).detect(image) == []


def test_missing_weights_are_a_model_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(faces, "BLAZEFACE_MODEL", tmp_path / "gone.tflite")
    with pytest.raises(ModelError, match=r"gone\.tflite") as caught:
        BlazeFaceDetector()
    assert caught.value.code == ErrorCode.MODEL_UNAVAILABLE


def test_changed_weights_are_a_model_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(faces.BLAZEFACE_MODEL.read_bytes()[:-1] + b"\x07")
    monkeypatch.setattr(faces, "BLAZEFACE_MODEL", changed)
    with pytest.raises(ModelError, match="SHA-256"):
        BlazeFaceDetector()


def test_the_weights_come_with_their_origin_and_licence() -> None:
    folder = faces.BLAZEFACE_MODEL.parent
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    assert faces.BLAZEFACE_MODEL.name in notice
    assert faces.BLAZEFACE_SHA256 in notice
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")


# --- YuNet alone -----------------------------------------------------------------------------------


def test_a_missing_yunet_file_is_a_model_error_that_helps(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="blazeface"):
        YuNetDetector(tmp_path / "yunet.onnx")


def test_a_file_that_is_no_yunet_is_a_model_error(tmp_path: Path) -> None:
    junk = tmp_path / "yunet.onnx"
    junk.write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"yunet\.onnx"):
        YuNetDetector(junk)
