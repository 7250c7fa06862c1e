"""Collections as they come: everything is found, labelled right, and nobody is on two sides."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import permutations
from pathlib import Path

import pytest

from detection.training.datasets import in_calibration, linked_groups
from detection.training.layouts import LAYOUTS, LEFT_OUT, LayoutError, Medium, in_validation, read_layout

PAIRS = [(f"{i:03}", f"{i + 1:03}") for i in range(0, 80, 2)]


def touch(root: Path, names: Iterable[str]) -> Path:
    """Readers open no media: empty files are enough."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def faceforensics(root: Path, compression: str = "c23") -> Path:
    originals = f"original_sequences/youtube/{compression}/videos"
    manipulated = "manipulated_sequences/{}/" + compression + "/videos"
    for a, b in PAIRS:
        touch(root, [f"{originals}/{a}.mp4", f"{originals}/{b}.mp4"])
        for method in ("Deepfakes", "NeuralTextures"):
            touch(root, [f"{manipulated.format(method)}/{a}_{b}.mp4", f"{manipulated.format(method)}/{b}_{a}.mp4"])
    return root


def sides(media: Iterable[Medium], people_of) -> dict[str, set[str]]:
    """Who is met on which side, media that were left out apart."""
    found: dict[str, set[str]] = {}
    for medium in media:
        if medium.split != LEFT_OUT:
            for person in people_of(medium):
                found.setdefault(person, set()).add(medium.split)
    return found


def of_pair(medium: Medium) -> list[str]:
    return medium.path.stem.split("_")


def test_faceforensics_knows_methods_labels_and_who_belongs_together(tmp_path):
    media = read_layout(faceforensics(tmp_path))
    assert {(m.dataset, m.method, m.label) for m in media} == {
        ("ffpp", "real", 0),
        ("ffpp", "deepfakes", 1),
        ("ffpp", "neuraltextures", 1),
    }
    assert len(media) == 6 * len(PAIRS)
    assert {m.split for m in media} == {"train", "val"}
    assert all(len(found) == 1 for found in sides(media, of_pair).values())
    # The manifest's reader links AAA_BBB by itself, so the name is kept.
    assert {m.group for m in media if m.label == 1} == {m.path.stem for m in media if m.label == 1}


def test_faceforensics_official_split_is_obeyed(tmp_path):
    root = faceforensics(tmp_path)
    for name, pairs in (("train", PAIRS[:30]), ("val", PAIRS[30:34]), ("test", PAIRS[34:39])):
        (root / f"{name}.json").write_text(json.dumps(pairs))
    media = read_layout(root)
    counts = {split: sum(m.split == split for m in media) for split in ("train", "calibration", "val", LEFT_OUT)}
    # The last pair is in no list: nothing says that it may be used.
    assert counts == {"train": 180, "calibration": 24, "val": 30, LEFT_OUT: 6}


def test_two_compressions_of_a_video_are_two_sources_and_one_group(tmp_path):
    media = read_layout(faceforensics(faceforensics(tmp_path, "c23"), "c40"))
    twins = [m for m in media if m.path.stem == "000_001" and m.method == "deepfakes"]
    assert len(twins) == 2
    assert len({m.source for m in twins}) == 2
    assert len({(m.group, m.split) for m in twins}) == 1


def test_an_older_faceforensics_without_the_youtube_folder(tmp_path):
    touch(tmp_path, ["original_sequences/c40/videos/000.mp4", "manipulated_sequences/FaceSwap/c40/videos/000_003.mp4"])
    assert [(m.origin, m.label) for m in read_layout(tmp_path)] == [("ffpp-faceswap", 1), ("ffpp-real", 0)]


def test_dfd_actors_are_on_one_side_and_mixed_fakes_left_out(tmp_path):
    actors = [f"{i:02}" for i in range(1, 29)]
    touch(tmp_path, [f"original_sequences/actors/c23/videos/{a}__exit_phone_room.mp4" for a in actors])
    folder = "manipulated_sequences/DeepFakeDetection/c23/videos"
    touch(tmp_path, [f"{folder}/{a}_{b}__exit_phone_room__YVGY8LOK.mp4" for a, b in permutations(actors, 2)])
    media = read_layout(tmp_path)
    found = sides(media, lambda m: m.path.stem.split("__")[0].split("_"))
    assert set(found) == set(actors)  # everybody is of use somewhere: the originals always are
    assert all(len(splits) == 1 for splits in found.values())
    assert {m.split for m in media} == {"train", "calibration", "val", LEFT_OUT}
    assert {m.dataset for m in media} == {"dfd"}
    # People who share a video share a group, and no group reaches over a side.
    groups = sides(media, lambda m: [m.group])
    assert all(len(splits) == 1 for splits in groups.values())


def celebrities(root: Path) -> Path:
    people = [f"id{i}" for i in range(20)]
    touch(root, [f"Celeb-real/{p}_{n:04}.mp4" for p in people for n in range(2)])
    touch(root, [f"Celeb-synthesis/{a}_{b}_0000.mp4" for a, b in permutations(people, 2)])
    return touch(root, [f"YouTube-real/{n:05}.mp4" for n in range(40)])


def of_celebrities(medium: Medium) -> list[str]:
    return [part for part in medium.path.stem.split("_") if part.startswith("id")] or [medium.path.stem]


def test_celebdf_without_a_list_is_split_by_person(tmp_path):
    media = read_layout(celebrities(tmp_path))
    assert {(m.method, m.label) for m in media} == {("real", 0), ("youtube", 0), ("synthesis", 1)}
    assert all(len(found) == 1 for found in sides(media, of_celebrities).values())
    for side in ("train", "val"):
        assert {m.label for m in media if m.split == side} == {0, 1}


def test_celebdf_list_of_test_videos_becomes_val_and_nobody_in_it_is_trained_on(tmp_path):
    root = celebrities(tmp_path)
    (root / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00003.mp4\n1 Celeb-real/id0_0001.mp4\n0 Celeb-synthesis/id1_id2_0000.mp4\n"
    )
    media = {m.source: m for m in read_layout(root)}
    assert {s for s, m in media.items() if m.split == "val"} == {
        "YouTube-real/00003",
        "Celeb-real/id0_0001",
        "Celeb-synthesis/id1_id2_0000",
    }
    assert media["Celeb-synthesis/id1_id2_0000"].label == 1  # the list says 0 where we say 1
    trained = [m for m in media.values() if m.split in ("train", "calibration")]
    assert trained
    assert not {"id0", "id1", "id2", "00003"} & {p for m in trained for p in of_celebrities(m)}


def dfdc_part(root: Path, part: str, originals: Iterable[str]) -> None:
    entries = {}
    for name in originals:
        entries[f"{name}.mp4"] = {"label": "REAL", "split": "train"}
        entries[f"{name}x.mp4"] = {"label": "FAKE", "split": "train", "original": f"{name}.mp4"}
    touch(root / part, entries)
    entries["deleted.mp4"] = {"label": "REAL", "split": "train"}
    (root / part / "metadata.json").write_text(json.dumps(entries))


def test_dfdc_fakes_stay_with_their_original(tmp_path):
    dfdc_part(tmp_path, "", [f"orig{i}" for i in range(40)])
    media = read_layout(tmp_path)
    assert len(media) == 80  # the one that was deleted is not missed
    assert {(m.method, m.label) for m in media} == {("real", 0), ("fake", 1)}
    families = sides(media, lambda m: [m.path.stem.removesuffix("x")])
    assert all(len(found) == 1 for found in families.values())
    assert {m.split for m in media} == {"train", "val"}


def test_dfdc_parts_stay_whole(tmp_path):
    for part in range(30):
        dfdc_part(tmp_path, f"dfdc_train_part_{part}", [f"p{part}v{i}" for i in range(2)])
    media = read_layout(tmp_path)
    assert all(len(found) == 1 for found in sides(media, lambda m: [m.path.parent.name]).values())
    assert {m.group for m in media} == {f"dfdc_train_part_{part}" for part in range(30)}


def test_a_plain_folder_needs_no_more_than_real_and_fake(tmp_path):
    names = [f"{i}" for i in range(30)]
    touch(tmp_path, [f"real/{n}.jpg" for n in names] + [f"fake/mine/{n}.mp4" for n in names] + ["fake/notes.txt"])
    media = read_layout(tmp_path)
    assert {(m.method, m.label) for m in media} == {("real", 0), ("mine", 1)}
    assert len(media) == 60
    assert all(len(found) == 1 for found in sides(media, lambda m: [m.path.stem]).values())


def test_a_plain_folder_may_say_who_and_which_split(tmp_path):
    touch(tmp_path, ["train/Real/ann/a/1.mp4", "train/Fake/swap/ann/2.mp4", "val/real/x.png", "val/fake/y.png"])
    media = {m.path.stem: m for m in read_layout(tmp_path)}
    assert {name: m.split for name, m in media.items()} == {"1": "train", "2": "train", "x": "val", "y": "val"}
    assert media["2"].method == "swap"
    assert media["2"].group == "ann"


def test_what_is_real_stays_real_in_whatever_folder_it_lies(tmp_path):
    touch(tmp_path, ["real/interviews/ann/1.mp4", "real/news/2.mp4", "fake/swap/ann/3.mp4"])
    media = {m.path.stem: m for m in read_layout(tmp_path)}
    assert {name: m.method for name, m in media.items()} == {"1": "real", "2": "real", "3": "swap"}
    assert {name: m.group for name, m in media.items()} == {"1": "ann", "2": "2", "3": "ann"}


def test_our_clips_are_of_the_identities_of_our_faces(shared_data):
    media = read_layout(shared_data / "clips")
    assert len(media) == 87
    assert {m.dataset for m in media} == {"ffpp"}
    assert {m.method for m in media} == {"real", "deepfakes", "face2face", "faceswap", "neuraltextures"}
    assert all(m.path.is_file() for m in media)


def test_sources_are_unique(tmp_path):
    media = read_layout(faceforensics(tmp_path))
    assert len({m.source for m in media}) == len(media)


def test_what_fits_nothing_is_told_what_would(tmp_path):
    touch(tmp_path, ["videos/1.mp4"])
    with pytest.raises(LayoutError, match="no layout fits") as caught:
        read_layout(tmp_path)
    assert all(name in str(caught.value) for name in LAYOUTS)
    with pytest.raises(LayoutError, match="Celeb-synthesis"):
        read_layout(tmp_path, "celebdf")
    with pytest.raises(LayoutError, match="there is no layout 'ffhq'"):
        read_layout(tmp_path, "ffhq")
    with pytest.raises(LayoutError, match="is not a folder"):
        read_layout(tmp_path / "nowhere")


def test_an_empty_collection_and_an_odd_name_are_errors(tmp_path):
    (tmp_path / "original_sequences").mkdir()
    with pytest.raises(LayoutError, match="holds no media"):
        read_layout(tmp_path)
    touch(tmp_path, ["original_sequences/youtube/c23/videos/my holiday.mp4"])
    with pytest.raises(LayoutError, match="is not named like a FaceForensics"):
        read_layout(tmp_path)


def test_the_two_draws_of_a_family_are_independent():
    """Else whoever is validated on would be just whoever is calibrated on."""
    names = [f"ffpp/{i:03}" for i in range(1000)]
    both = sum(in_validation(n) and in_calibration(n) for n in names) / 1000
    assert 1 / 80 < both < 1 / 25
    assert len(set(linked_groups(["b_a", "c_b", "a"]).values())) == 1
