"""Sequence runs: windows that give no class away, a head that learns, figures beside a frame model."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from detection.training import packaging, sequences, train
from detection.training.datasets import Sample, read_manifest
from detection.training.evaluate import Scores
from detection.training.sequences import SequenceConfig, Video, Windows, evenly, padded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

CONFIG = SequenceConfig(manifests=(), output=Path("run"), architecture="sequence-resnet50", batch_size=8)


def video(label: int, frames: int) -> Video:
    """Frame ``i`` has the features ``(i, label)``."""
    sample = Sample(Path("x"), label, "drawn", "any", "train", "somebody", "somebody", np.zeros((4, 2), np.float32))
    vectors = np.stack([np.arange(frames), np.full(frames, label)], axis=1).astype(np.float32)
    return Video((sample,) * frames, vectors)


class TestWindows:
    def test_the_number_of_frames_tells_nothing_about_the_class(self):
        windows = Windows([video(0, 32), video(1, 8)], CONFIG)
        seen = set()
        for i in range(20):
            (vectors, mask), labels = windows[i]
            assert vectors.shape == (8, 6, 2)
            assert labels[:, 0].tolist() == [0, 1] * 4
            assert len({int(row.sum()) for row in mask}) == 1
            seen.add(int(mask[0].sum()))
        assert seen == {4, 5, 6}

    def test_frames_stay_in_order_forwards_or_backwards(self):
        windows = Windows([video(0, 32), video(1, 8)], CONFIG)
        directions = set()
        for i in range(10):
            (vectors, mask), _ = windows[i]
            for row, there in zip(vectors, mask, strict=True):
                steps = np.diff(row[there, 0])
                assert (steps > 0).all() or (steps < 0).all()
                directions.add(bool(steps[0] > 0))
        assert directions == {True, False}

    def test_a_batch_can_be_made_again_and_the_next_epoch_has_others(self):
        windows = Windows([video(0, 32), video(1, 32)], CONFIG)
        before = windows[3][0][0]
        assert np.array_equal(before, windows[3][0][0])
        windows.on_epoch_end()
        assert not np.array_equal(before, windows[3][0][0])

    def test_one_class_alone_is_refused(self):
        with pytest.raises(ValueError, match="real and manipulated"):
            Windows([video(1, 8)], CONFIG)


def test_frames_are_chosen_evenly_and_short_videos_are_padded():
    assert evenly(11, 6) == [0, 2, 4, 6, 8, 10]
    assert evenly(3, 6) == [0, 1, 2]
    vectors, mask = padded([np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)], 4)
    assert vectors.sum(axis=(1, 2)).tolist() == [6, 12]
    assert mask.tolist() == [[True, True, False, False], [True] * 4]


def test_the_fused_weight_follows_whoever_is_right():
    samples = tuple(video(label, 1).samples[0] for label in (0, 1) * 10)
    right = Scores(samples, np.array([-2, 2] * 10, np.float32))
    wrong = Scores(samples, np.array([2, -2] * 10, np.float32))
    assert sequences._fused_weight(right, wrong) == 0
    assert sequences._fused_weight(wrong, right) == 1


def test_whoever_ends_a_training_does_not_weigh_its_scores():
    videos = [of(video(label, 1), person) for person in "abcde" for label in (0, 1)]
    ending, fitting = ({v.samples[0].group for v in half} for half in sequences.halves(videos))
    assert (ending, fitting) == ({"a", "c", "e"}, {"b", "d"})


def of(video: Video, person: str) -> Video:
    return replace(video, samples=tuple(replace(sample, group=person) for sample in video.samples))


def test_features_are_kept_as_long_as_they_come_from_the_same_place(collection, tmp_path, monkeypatch):
    asked = []

    def counted(config):
        return lambda crops, **_: asked.append(len(crops)) or np.zeros((len(crops), 2)), 32, config.crop_margin

    monkeypatch.setattr(sequences, "extractor", counted)
    config = replace(CONFIG, output=tmp_path, pretrained=tmp_path / "w.weights.h5")
    samples = read_manifest(collection)[:3]
    config.pretrained.write_bytes(b"one")
    for _ in range(2):
        assert len(sequences._features(samples, config)) == 3
    assert asked == [3]
    sequences._features(samples, replace(config, crop_margin=2.0))
    assert asked == [3, 3]
    sequences._features(samples, config)
    config.pretrained.write_bytes(b"another")
    sequences._features(samples, config)
    assert asked == [3] * 4


def test_an_unknown_backbone_is_refused(tmp_path):
    toml = tmp_path / "run.toml"
    toml.write_text('architecture = "sequence-vgg"\nmanifests = ["m.csv"]\noutput = "run"\n')
    assert sequences.configures(toml)
    with pytest.raises(ValueError, match="inceptionv3, resnet50, not 'sequence-vgg'"):
        sequences.read_config(toml)


def test_a_sequence_run_is_trained_and_measured_beside_a_frame_model(collection, tiny_toml, tmp_path):
    assert not sequences.configures(tiny_toml)
    frames = train.read_config(tiny_toml, architecture="meso4", output=tmp_path / "frames")
    frames.output.mkdir()
    train.build(frames).save_weights(frames.output / "final.weights.h5")
    (frames.output / "config.json").write_text(json.dumps(asdict(frames), default=str))
    toml = tmp_path / "sequence.toml"
    toml.write_text(
        f'architecture = "sequence-mobilenetv2"\nmanifests = ["{collection}"]\noutput = "{tmp_path / "run"}"\n'
        "input_size = 32\nframes = 2\nfewest = 2\nunits = 4\nbatch_size = 8\nsteps_per_epoch = 2\nepochs = 2\n"
    )
    config = sequences.read_config(toml)
    weights = sequences.train(config)
    assert weights.is_file()
    assert len((config.output / "log.csv").read_text().splitlines()) == 3
    stamp = (config.output / "features.npz").stat().st_mtime_ns
    found = sequences.compare(config.output, frames.output)
    assert (config.output / "features.npz").stat().st_mtime_ns == stamp, "features were computed twice"
    assert found["videos"]["judged"] == 20
    for rows in found["auc"].values():
        (row,) = rows
        assert (row["origin"], row["real"], row["fake"]) == ("drawn-patch", 10, 10)
        assert 0 <= row["low"] <= row["auc"] <= row["high"] <= 1
    assert "| drawn-patch | 10 | 10 |" in sequences.markdown(found)
    with pytest.raises(ValueError, match="not exported, imported or served"):
        packaging.calibrate(config.output)
    with pytest.raises(ValueError, match="meso4 gives no features"):
        sequences.extractor(replace(config, features=frames.output))
