"""Training runs: configuration, interruption, experiments, averages."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from detection.engine.networks import mobilenetv2
from detection.training import experiments
from detection.training.train import read_config, read_noted, train, training_samples
from tests.engine.builders import lively_weights
from tests.training.faces import write_collection

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
        config = read_config(path)
        assert config.input_size % 32 == 0
        assert config.manifests


def test_an_interrupted_run_goes_on_and_notes_what_it_was(config):
    log = config.output / "log.csv"
    train(config)
    assert len(log.read_text().splitlines()) == 2
    train(replace(config, epochs=2))  # goes on with epoch 2 and does not repeat epoch 1
    assert len(log.read_text().splitlines()) == 3
    noted = read_noted(config.output / "config.json")
    assert (noted.epochs, noted.manifests, noted.fake_weights) == (2, config.manifests, config.fake_weights)


def test_only_training_rows_are_trained_on(config):
    assert {s.split for s in training_samples(config)} == {"train"}


def untrained(config, seed):
    """A run's folder with a network of lively random weights."""
    run = replace(config, seed=seed, output=config.output.parent / f"seed-{seed}")
    network = mobilenetv2.build(config.input_size)
    lively_weights(network, np.random.default_rng(seed))
    run.output.mkdir()
    network.save_weights(run.output / "final.weights.h5")
    return run


def test_the_average_of_runs_lies_between_them(config, tmp_path):
    runs = [untrained(config, seed) for seed in (1, 2)]
    experiments.average([run.output for run in runs], config, tmp_path / "mean")
    first, second = (experiments.Network(run) for run in runs)
    mean = experiments.Network(config, tmp_path / "mean" / "final.weights.h5")
    weights = [network._model.get_weights() for network in (first, second, mean)]
    for one, other, middle in zip(*weights, strict=True):
        assert middle == pytest.approx((one + other) / 2, abs=1e-6)
    crops = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    assert mean(crops) != pytest.approx(first(crops))
    assert read_noted(tmp_path / "mean" / "config.json").output == tmp_path / "mean"


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
    before = untrained(config, 1)
    noted = {**asdict(before), "leave_out": ["drawn-other"]}
    (before.output / "config.json").write_text(json.dumps(noted, default=str))
    started = replace(config, start=before.output / "final.weights.h5")
    with pytest.raises(ValueError, match="has seen"):
        experiments.leave_one_out(started, ["drawn-patch"], tmp_path / "loo.json")


def test_what_a_run_never_saw_is_noted_once(config, tmp_path):
    results = tmp_path / "leave_one_out.json"
    blind = replace(untrained(config, 1), leave_out=("drawn-patch",))
    (row,) = experiments.held_out(blind, results)
    assert row["left_out"].startswith("drawn-patch")
    assert (row["real"], row["fake"]) == (10, 10)
    experiments.held_out(blind, results)
    assert len(json.loads(results.read_text())["rows"]) == 1
