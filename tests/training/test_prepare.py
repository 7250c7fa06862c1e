"""From somebody's folder to crops: everything that has a face gives crops, everything else a reason."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

import detection.training.prepare as module
from detection.engine.preprocessing import crop_box
from detection.training.datasets import read_manifest
from detection.training.layouts import read_layout
from detection.training.prepare import Options, prepare, report
from tests.clips import video
from tests.portraits import ANNA, BEN, WALL, scene

SIZE = (480, 360)
FEW = Options(frames=3)


def write_picture(path: Path, people) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture, _ = scene(SIZE, people)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def write_video(path: Path, people, frames: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)

    def paint(index: int):
        return scene(SIZE, [(who, (left + index, top), side) for who, (left, top), side in people])[0]

    video(path, frames=frames, rate=10, size=SIZE, paint=paint, options={"crf": "18"})


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Path:
    """Two good media of each class, and all that can go wrong."""
    root = tmp_path_factory.mktemp("mine")
    write_video(root / "train/real/anna.mp4", [(ANNA, (100, 40), 260)])
    write_picture(root / "train/real/ben.png", [(BEN, (60, 20), 300)])
    write_video(root / "train/fake/swap/anna.mp4", [(ANNA, (100, 40), 260), (BEN, (20, 200), 120)])
    write_picture(root / "val/fake/swap/cut.jpg", [(ANNA, (-40, 40), 280)])
    write_picture(root / "val/real/small.png", [(ANNA, (200, 100), 70)])
    write_picture(root / "val/real/nobody.png", [])
    (root / "val/real/broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 400)
    (root / "val/real/text.jpg").write_text("no picture at all")
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def prepared(collection, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("crops")
    prepare(collection, output, options=FEW)
    return output


def test_the_manifest_is_one_that_training_reads(prepared):
    samples = read_manifest(prepared / "manifest.csv")
    counts = Counter((s.split, s.method, s.label) for s in samples)
    # Three frames of each video, one of each picture.
    assert counts == {("train", "real", 0): 4, ("train", "swap", 1): 3, ("val", "swap", 1): 1}
    assert {s.dataset for s in samples} == {"mine0"}
    for sample in samples:
        assert sample.load().shape[2] == 3
        assert max(sample.load().shape) <= 288
    assert tuple(rows_of(prepared / "manifest.csv")[0]) == module.COLUMNS


def test_what_gave_no_crop_is_listed_with_its_reason(prepared):
    skipped = {Path(row["source"]).name: row for row in rows_of(prepared / "skipped.csv")}
    assert {name: row["reason"] for name, row in skipped.items()} == {
        "small": "face_too_small",
        "nobody": "no_face",
        "broken": "failed",
        "text": "failed",
    }
    assert skipped["text"]["message"].startswith("unreadable_media: ")


def test_the_serving_crop_fits_into_the_crop(prepared):
    for sample in read_manifest(prepared / "manifest.csv"):
        box, (height, width) = crop_box(sample.landmarks, 2.9), sample.load().shape[:2]
        if Path(sample.video).name != "cut":  # which the picture's own edge cuts
            assert box.left >= 0
            assert box.top >= 0
            assert box.right <= width
            assert box.bottom <= height


def test_landmarks_are_where_the_eyes_are(prepared):
    """The drawn pupils are black: the crop is darker there than anywhere around."""
    (sample,) = [s for s in read_manifest(prepared / "manifest.csv") if s.video.endswith("ben")]
    luma = cv2.cvtColor(sample.load(), cv2.COLOR_RGB2GRAY)
    for x, y in sample.landmarks[:2]:
        patch = luma[round(y) - 8 : round(y) + 9, round(x) - 8 : round(x) + 9]
        assert patch.min() < 60


def test_the_person_who_fills_the_video_is_chosen(prepared):
    swap = [s for s in read_manifest(prepared / "manifest.csv") if s.video == "mine0/swap/train/fake/swap/anna"]
    assert len(swap) == 3
    widths = [float(row["box_w"]) for row in rows_of(prepared / "manifest.csv") if "swap_anna" in row["file"]]
    assert min(widths) > 90  # Anna's; Ben's face is half as wide


def test_all_faces_are_taken_on_request(collection, tmp_path):
    prepare(collection, tmp_path, options=Options(frames=3, faces="all"))
    videos = Counter(s.video for s in read_manifest(tmp_path / "manifest.csv"))
    assert videos["mine0/swap/train/fake/swap/anna_0"] == 3
    assert videos["mine0/swap/train/fake/swap/anna_1"] == 3


def test_a_second_run_does_nothing_again_and_ends_the_same(collection, prepared, monkeypatch):
    before = {p.name: p.read_bytes() for p in prepared.glob("*.csv")}
    monkeypatch.setattr(module, "_cut_faces", lambda *args: pytest.fail("done already"))
    prepare(collection, prepared, options=FEW)
    assert {p.name: p.read_bytes() for p in prepared.glob("*.csv")} == before


def test_an_interrupted_run_goes_on_and_gives_what_an_uninterrupted_one_gives(
    collection, prepared, tmp_path, monkeypatch
):
    real, calls = module._cut_faces, []

    def stops_at_the_third(medium, *args):
        calls.append(medium.source)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(medium, *args)

    monkeypatch.setattr(module, "_cut_faces", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(collection, tmp_path, options=FEW)
    assert not (tmp_path / "manifest.csv").exists()  # half of it would look like all of it
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"source": "half a li')
    prepare(collection, tmp_path, options=FEW)
    assert len(calls) == len(set(calls)) + 1 == 9  # only the interrupted one was begun twice
    for path in prepared.rglob("*.*"):
        if path.name != "journal.jsonl":
            assert (tmp_path / path.relative_to(prepared)).read_bytes() == path.read_bytes(), path


def test_changed_files_and_lost_crops_are_done_again(tmp_path):
    root, output = tmp_path / "mine", tmp_path / "crops"
    write_picture(root / "real/a.png", [(ANNA, (60, 20), 300)])
    write_picture(root / "fake/b.png", [(BEN, (60, 20), 300)])
    prepare(root, output, options=FEW)
    first = {s.method: s.load() for s in read_manifest(output / "manifest.csv")}
    write_picture(root / "real/a.png", [(BEN, (20, 20), 280)])
    (lost,) = (output / "mine-fake").glob("*.jpg")
    lost.unlink()
    prepare(root, output, options=FEW)
    second = {s.method: s.load() for s in read_manifest(output / "manifest.csv")}
    assert np.array_equal(first["fake"], second["fake"])
    assert not np.array_equal(first["real"], second["real"])


def test_other_options_need_another_folder(collection, prepared):
    with pytest.raises(ValueError, match="other options"):
        prepare(collection, prepared, options=Options(frames=4))


def test_a_limit_takes_so_many_of_each_kind_and_a_larger_one_keeps_them(tmp_path):
    for i in range(6):
        write_picture(tmp_path / f"mine/train/real/{i}.png", [])
        write_picture(tmp_path / f"mine/train/fake/{i}.png", [])
    media = read_layout(tmp_path / "mine")
    two, four = (module._limited(media, limit, 7) for limit in (2, 4))
    assert Counter(m.label for m in two) == {0: 2, 1: 2}
    assert {m.source for m in two} < {m.source for m in four}
    assert two != module._limited(media, 2, 8)


def test_both_classes_are_encoded_alike(tmp_path):
    """The same picture gives the same bytes whatever it is called: format and quality tell nothing."""
    for name in ("real/a.png", "fake/b.png"):
        write_picture(tmp_path / "mine" / name, [(ANNA, (60, 20), 300)])
    prepare(tmp_path / "mine", tmp_path / "crops", options=FEW)
    first, second = (sample.path.read_bytes() for sample in read_manifest(tmp_path / "crops" / "manifest.csv"))
    assert first == second


def test_one_bug_does_not_end_the_run(collection, tmp_path, monkeypatch):
    def odd(path):
        raise RuntimeError("a bug in a decoder")

    monkeypatch.setattr(module, "open_media", odd)
    summary = prepare(collection, tmp_path, options=FEW)
    assert summary.skipped == {"failed": 8}
    assert "a bug in a decoder" in rows_of(tmp_path / "skipped.csv")[0]["message"]


def test_the_report_names_every_count(collection, prepared):
    lines: list[str] = []
    report(prepare(collection, prepared, options=FEW), lines.append)
    text = "\n".join(lines)
    assert "4  train mine0-real" in text
    assert "files skipped: no_face" in text


def test_png_is_lossless(tmp_path):
    write_picture(tmp_path / "mine/real/a.png", [(ANNA, (60, 20), 300)])
    write_picture(tmp_path / "mine/fake/b.png", [(ANNA, (60, 20), 300)])
    prepare(tmp_path / "mine", tmp_path / "crops", options=Options(jpeg_quality=None, longest_side=400))
    sample = read_manifest(tmp_path / "crops" / "manifest.csv")[0]
    assert sample.path.suffix == ".png"
    assert tuple(sample.load()[0, 0]) == WALL
