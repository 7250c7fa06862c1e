"""Training runs: configuration, interruption, experiments, averages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detection.training import experiments, release, runs, sequences
from detection.training import train as train_module
from detection.training.train import read_config, read_noted, train, training_samples
from tests.training.faces import write_collection
from tests.training.networks import untrained

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def config(tiny_toml):
    return read_config(tiny_toml)


class TestConfiguration:
    def test_a_file_says_only_how_it_differs_from_its_base(self, tiny_toml, tmp_path):
        other = tmp_path / "other.toml"
        other.write_text('base = "tiny.toml"\nepochs = 5\nleave_out = ["drawn-patch"]\n', encoding="utf-8")
        config = read_config(other, seed=9)
        assert (config.epochs, config.input_size, config.seed) == (5, 32, 9)
        assert config.fake_weights == {"drawn-patch": 2}
        assert {s.origin for s in training_samples(config)} == {"drawn-real"}

    def test_a_misspelt_origin_is_not_silently_trained_on(self, config):
        with pytest.raises(ValueError, match="drawn-pach"):
            training_samples(replace(config, leave_out=("drawn-pach",)))

    @pytest.mark.parametrize("path", sorted(Path("detection/training/configs").rglob("*.toml")), ids=lambda p: p.stem)
    def test_every_configuration_in_the_repository_is_readable(self, path):
        config = (sequences if sequences.configures(path) else train_module).read_config(path)
        assert config.input_size % 32 == 0
        assert config.manifests


def test_an_interrupted_run_goes_on_and_notes_what_it_was(config):
    log = config.output / "log.csv"
    train(config)
    assert len(log.read_text().splitlines()) == 2
    train(replace(config, epochs=2))  # goes on with epoch 2 and does not repeat epoch 1
    assert len(log.read_text().splitlines()) == 3
    noted = read_noted(config.output)
    assert (noted.epochs, noted.manifests, noted.fake_weights) == (2, config.manifests, config.fake_weights)


def test_a_share_of_the_start_stays_in_what_is_trained(config, tmp_path):
    start = untrained(config, 5)

    def trained(share):
        run = replace(
            config,
            start=start.output / "final.weights.h5",
            start_share=share,
            output=tmp_path / f"share-{share}",
            pretrained=None,
        )
        train(run)
        return runs.load(run.output).get_weights()

    whole, half, none = trained(1.0), trained(0.5), trained(0.0)
    for old, kept, mixed, new in zip(runs.load(start.output).get_weights(), whole, half, none, strict=True):
        assert kept == pytest.approx(old, abs=1e-6)
        assert mixed == pytest.approx((old + new) / 2, abs=1e-6)
    assert any(not np.allclose(old, new) for old, new in zip(whole, none, strict=True)), "nothing was learned"


def test_a_share_of_no_start_is_refused(config):
    with pytest.raises(ValueError, match="start_share"):
        train(replace(config, start=None, start_share=0.5))


def test_only_training_rows_are_trained_on(config):
    assert {s.split for s in training_samples(config)} == {"train"}


def test_the_average_of_runs_lies_between_them(config, tmp_path):
    folders = [untrained(config, seed).output for seed in (1, 2)]
    runs.average(folders, tmp_path / "mean")
    first, second, mean = (runs.Network(runs.load(folder)) for folder in (*folders, tmp_path / "mean"))
    weights = [network.model.get_weights() for network in (first, second, mean)]
    for one, other, middle in zip(*weights, strict=True):
        assert middle == pytest.approx((one + other) / 2, abs=1e-6)
    crops = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    assert mean(crops) != pytest.approx(first(crops))
    assert read_noted(tmp_path / "mean").output == tmp_path / "mean"


def test_an_ensemble_says_the_mean_of_its_calibrated_members(config, tmp_path):
    folders = [untrained(config, seed).output for seed in (1, 2)]
    note = runs.combine(folders, tmp_path / "both")
    points = [(member["slope"], member["intercept"]) for member in json.loads(note.read_text())["members"]]
    assert points[0] != points[1]
    crops = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    logits = [runs.Network(runs.load(folder))(crops) for folder in folders]
    expected = np.mean([a * one + b for (a, b), one in zip(points, logits, strict=True)], axis=0)
    both = runs.load(tmp_path / "both")
    outputs = {name: np.asarray(value) for name, value in both(crops, training=False).items()}
    assert outputs["logit"][:, 0] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert outputs["evidence"].mean(axis=(1, 2)) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert release.architecture_of(tmp_path / "both") == "mobilenetv2 + mobilenetv2"
    described = experiments.describe(tmp_path / "both")
    assert (described["networks"], described["recipe"]["seed"]) == (2, "1 / 2")
    assert described["parameters"] == 2 * runs.load(folders[0]).count_params()


def test_networks_that_cut_faces_differently_cannot_share_a_crop(config, tmp_path):
    folders = [untrained(replace(config, crop_margin=2 + seed), seed).output for seed in (1, 2)]
    with pytest.raises(ValueError, match="must share"):
        runs.combine(folders, tmp_path / "both")


def test_an_experiment_is_not_repeated_once_it_is_noted(config, tmp_path):
    results = tmp_path / "seeds.json"
    run = untrained(config, 1)  # a finished run that is not noted yet is measured, not trained again
    family = replace(config, output=tmp_path)
    (row,) = experiments.seeds(family, [1], results)
    assert json.loads(results.read_text())["rows"] == [row]
    assert (row["seed"], row["steps"]) == (1, 2)
    assert 0 <= row["figures"]["drawn-patch"] <= 1
    (run.output / "final.weights.h5").unlink()
    assert experiments.seeds(family, [1], results) == [row]


def test_leaving_one_out_tells_how_well_the_left_out_one_is_found(tmp_path):
    manifest = write_collection(tmp_path, methods=("patch", "stripe"))
    toml = tmp_path / "tiny.toml"
    toml.write_text(
        f'manifests = ["{manifest}"]\noutput = "{tmp_path / "run"}"\ninput_size = 32\nbatch_size = 4\n'
        "steps_per_epoch = 1\nepochs = 1\n"
    )
    (row,) = experiments.leave_one_out(read_config(toml), ["drawn-stripe"], tmp_path / "loo.json")
    assert row["left_out"] == "drawn-stripe"
    assert row["auc"]["low"] <= row["auc"]["value"] <= row["auc"]["high"]
    assert (row["real"], row["fake"]) == (10, 5)


def test_leaving_one_out_refuses_to_start_from_a_network_that_has_seen_it(config, tmp_path):
    before = untrained(replace(config, leave_out=("drawn-other",)), 1)
    started = replace(config, start=before.output / "final.weights.h5")
    with pytest.raises(ValueError, match="has seen"):
        experiments.leave_one_out(started, ["drawn-patch"], tmp_path / "loo.json")


def test_what_an_earlier_stage_has_seen_is_not_forgotten(config, tmp_path):
    first = untrained(config, 1)
    blind = untrained(replace(config, start=first.output / "final.weights.h5", leave_out=("drawn-patch",)), 2)
    clean = untrained(replace(config, leave_out=("drawn-patch",)), 3)
    average = runs.average([clean.output, blind.output], tmp_path / "mean")
    started = replace(config, start=blind.output / "final.weights.h5")
    for experiment in (
        lambda: experiments.leave_one_out(started, ["drawn-patch"], tmp_path / "loo.json"),
        lambda: experiments.leave_one_out(replace(config, start=average), ["drawn-patch"], tmp_path / "loo.json"),
        lambda: experiments.held_out(blind, tmp_path / "loo.json"),
    ):
        with pytest.raises(ValueError, match="seed-1 has seen"):
            experiment()


def test_what_a_run_never_saw_is_noted_once(config, tmp_path):
    results = tmp_path / "leave_one_out.json"
    blind = replace(untrained(config, 1), leave_out=("drawn-patch",))
    (row,) = experiments.held_out(blind, results)
    assert row["left_out"].startswith("drawn-patch")
    assert (row["real"], row["fake"]) == (10, 10)
    experiments.held_out(blind, results)
    assert len(json.loads(results.read_text())["rows"]) == 1
