"""Fixtures that the tests of training share."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest

from tests.training.faces import write_collection


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    """The manifest of 160 drawn faces of 40 people, a quarter of them in ``val``."""
    return write_collection(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def tiny_toml(collection, tmp_path):
    """A complete configuration of a network that trains in seconds."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        f'manifests = ["{collection}"]\noutput = "{tmp_path / "run"}"\ninput_size = 32\n'
        "batch_size = 8\nsteps_per_epoch = 2\nepochs = 1\n[fake_weights]\ndrawn-patch = 2\n",
        encoding="utf-8",
    )
    return path
