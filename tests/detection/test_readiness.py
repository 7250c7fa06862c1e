"""Whether the model that judges is whole: every file that a worker may load, whichever runtime it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from detection import readiness, registered_models
from detection.engine.registry import sha256_of
from tests import variants

pytestmark = pytest.mark.django_db


def model(client: Client) -> str:
    return client.get("/ready/").json()["checks"]["model"]


def judge_with(models_dir: Path, network: Path, **changes) -> None:
    """``network`` is what TensorFlow would run; nothing here opens it, only its bytes count."""
    told = {"file": network.name, "sha256": sha256_of(network)}
    spec = variants.install(models_dir, **(changes or {"tensorflow": told}))
    network.rename(spec.path.parent / network.name)
    registered_models.activate(registered_models.register(spec), by=None, reason="a test")


def test_the_file_of_the_other_runtime_counts_too(client: Client, models_dir: Path, tmp_path: Path):
    network = tmp_path / "model.keras"
    network.write_bytes(b"a network")
    judge_with(models_dir, network)
    assert model(client) == "ok"
    (installed := models_dir / "variant-v1" / "model.keras").write_bytes(b"another network")
    assert model(client) == "failed"
    installed.unlink()
    assert model(client) == "failed"


def test_a_change_deep_in_a_folder_is_noticed(client: Client, models_dir: Path, tmp_path: Path):
    network = tmp_path / "saved_model"
    (network / "variables").mkdir(parents=True)
    (network / "variables" / "data").write_bytes(b"weights")
    judge_with(models_dir, network, file="saved_model", sha256=sha256_of(network))
    assert model(client) == "ok"
    (models_dir / "variant-v1" / "saved_model" / "variables" / "data").write_bytes(b"others!")
    assert model(client) == "failed"


def test_whole_files_are_read_again_only_when_they_changed(client: Client):
    readiness._hashed.cache_clear()
    assert (model(client), model(client)) == ("ok", "ok")
    assert readiness._hashed.cache_info().hits == 1
