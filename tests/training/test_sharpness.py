"""Sharpness-aware minimisation: what a step is made of, where it leads, and batches that come twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from detection.training.sharpness import SharpnessAware, Twice
from detection.training.train import make_batches, read_config, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

OPTIONS = {"weight_decay": 0.01, "use_ema": True, "ema_momentum": 0.9, "clipnorm": 5.0}


def apply(optimizer, variable, gradient):
    optimizer.apply([keras.ops.convert_to_tensor(gradient, dtype="float32")], [variable])


def test_a_step_is_that_of_adamw_with_the_gradient_from_uphill():
    variable, plain = keras.Variable([3.0, 4.0]), keras.Variable([3.0, 4.0])
    ours, theirs = SharpnessAware(0.1, radius=0.5, **OPTIONS), keras.optimizers.AdamW(0.1, **OPTIONS)
    for _ in range(3):
        before = np.array(variable)
        apply(ours, variable, before)  # of half the square of the distance from 0, which grows straight outwards
        assert np.linalg.norm(variable) == pytest.approx(np.linalg.norm(before) + 0.5, abs=1e-5)
        gradient = np.array(variable)
        apply(ours, variable, gradient)
        apply(theirs, plain, gradient)
        assert np.array(variable) == pytest.approx(np.array(plain), abs=1e-6)
    assert int(ours.iterations) == int(theirs.iterations) == 3
    ours.finalize_variable_values([variable])
    theirs.finalize_variable_values([plain])
    assert np.array(variable) == pytest.approx(np.array(plain), abs=1e-6)


def test_a_narrow_minimum_does_not_hold_it():
    """A bowl round 2 with a hole of 0.1 at 0: what looks 0.3 uphill keeps that far away from the hole."""

    def slope(at):
        return at - 2 + 100 * at * np.exp(-((at / 0.1) ** 2))

    def descended(optimizer, gradients_per_step):
        variable = keras.Variable([0.03])
        for _ in range(400 * gradients_per_step):
            apply(optimizer, variable, slope(np.array(variable)))
        return float(variable[0])

    assert descended(keras.optimizers.AdamW(0.01), 1) < 0.1
    assert descended(SharpnessAware(0.01, radius=0.3), 2) > 0.3


@pytest.mark.parametrize("radius", [0, -0.1, float("nan")])
def test_a_radius_is_positive(radius):
    with pytest.raises(ValueError, match="positive"):
        SharpnessAware(0.1, radius=radius)


def test_jax_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="JAX"):
        SharpnessAware(0.1, radius=0.5)


class Numbered(keras.utils.PyDataset):
    def __init__(self):
        super().__init__(workers=3)
        self.epoch, self.made = 0, []

    def __len__(self):
        return 20

    def __getitem__(self, index):
        self.made.append(index)
        return self.epoch * 100 + index

    def on_epoch_end(self):
        self.epoch += 1


def test_batches_come_twice_in_a_row_and_are_made_once():
    numbered = Numbered()
    twice = Twice(numbered)
    for epoch in range(2):
        numbered.made.clear()
        with ThreadPoolExecutor(4) as pool:
            drawn = list(pool.map(twice.__getitem__, range(len(twice))))
        assert drawn == [epoch * 100 + i // 2 for i in range(40)]
        assert sorted(numbered.made) == list(range(20))
        twice.on_epoch_end()


def test_a_run_with_it_trains_and_goes_on(tiny_toml):
    config = replace(read_config(tiny_toml), sharpness_radius=0.05)
    assert len(make_batches(config)) == 2 * config.steps_per_epoch
    train(config)
    train(replace(config, epochs=2))
    with h5py.File(config.output / "backup/latest.weights.h5") as state:
        steps = int(state["optimizer/vars/0"][()])
        is_up = [bool(one[()]) for one in state["optimizer/vars"].values() if one.dtype == bool]
    assert steps == 2 * config.steps_per_epoch
    assert is_up == [False]
