"""Runs that were never trained, for what only needs some."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np

from detection.engine.networks import mobilenetv2
from tests.engine.builders import lively_weights


def untrained(config, seed):
    """A run's folder with a network of lively random weights."""
    run = replace(config, seed=seed, output=config.output.parent / f"seed-{seed}")
    network = mobilenetv2.build(config.input_size)
    lively_weights(network, np.random.default_rng(seed))
    run.output.mkdir()
    network.save_weights(run.output / "final.weights.h5")
    (run.output / "config.json").write_text(json.dumps(asdict(run), default=str))
    return run
