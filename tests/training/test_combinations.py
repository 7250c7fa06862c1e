"""What combinations of networks are said to be worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from detection.training import combinations, experiments, runs
from detection.training.__main__ import app
from detection.training.combinations import Files
from detection.training.train import read_config
from tests.training.networks import untrained

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def folders(tiny_toml):
    return [untrained(read_config(tiny_toml), seed).output for seed in (1, 2)]


def files(labels):
    return Files(np.array(labels), np.array(["one-fake" if label else "one-real" for label in labels], np.str_))


def test_a_combination_is_told_the_figures_that_the_ensemble_has(folders, collection, tiny_toml, tmp_path):
    result = CliRunner().invoke(
        app, ["compare-runs", *(f"--run={folder}" for folder in folders), "--manifest", str(collection)]
    )
    assert result.exit_code == 0, result.output
    first, second, both = result.output.splitlines()[2:5]
    runs.combine(folders, tmp_path / "both")
    config = read_config(tiny_toml)
    for line, folder in ((first, folders[0]), (second, folders[1]), (both, tmp_path / "both")):
        figures = experiments.measure(replace(config, output=folder))["figures"]
        assert line.endswith(f"| {figures['drawn-patch']:.3f} |")
    assert both.startswith(f"| {folders[0]}, {folders[1]} |")


def test_disagreement_that_tells_errors_is_told_from_one_that_does_not():
    ours = files([0] * 100 + [1] * 20)
    real, fake = np.linspace(-2, 2, 100), np.full(20, 4.0)
    level = np.concatenate([real, fake])
    apart = np.concatenate([np.ones(100), np.zeros(20)])
    assert ours.agreement_tells(level + apart, level - apart) == 1
    assert ours.agreement_tells(level - (1 - apart), level + (1 - apart)) == 0
    assert ours.agreement_tells(level, level) == 0.5


def test_what_is_found_counts_at_one_false_alarm_in_a_hundred():
    ours = files([0] * 100 + [1] * 10)
    logits = np.concatenate([np.arange(100), [98.5] * 4 + [97.5] * 6]).astype(float)
    assert ours.found(logits) == pytest.approx(0.4)
    assert ours.areas(logits) == {"one-fake": pytest.approx((4 * 99 + 6 * 98) / 1000)}


def test_a_split_without_both_classes_is_refused(folders, collection):
    lines = collection.read_text(encoding="utf-8").splitlines(keepends=True)
    part = collection.with_name("reals.csv")
    part.write_text(lines[0] + "".join(line for line in lines[1:] if ",patch," not in line), encoding="utf-8")
    with pytest.raises(ValueError, match="calibration needs real and manipulated"):
        combinations.compare(folders, [part])


def test_nothing_is_measured_on_what_it_is_chosen_by(folders, collection):
    with pytest.raises(ValueError, match="cannot be measured on it"):
        combinations.compare(folders, [collection], split="calibration")


def test_each_network_can_be_shown_faces_mirrored_too(folders, collection):
    compared = combinations.compare(folders[:1], [collection], mirrored=True)
    (name, plain), (other, mirrored) = compared.logits.items()
    assert other == f"{name} mirrored"
    assert not np.allclose(plain["val"], mirrored["val"])
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    model = runs.load(folders[0])
    assert combinations.Mirrored(model)(crops) == pytest.approx(runs.Network(model)(np.flip(crops, axis=2).copy()))
