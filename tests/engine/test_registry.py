"""A model is the file that was measured, or it is refused."""

from __future__ import annotations

import shutil

import pytest

from detection.engine.classifier import LiteRTClassifier
from detection.engine.errors import ErrorCode, ModelError
from detection.engine.registry import REGISTRY, WEIGHTS, find_model, read_registry, sha256_of
from detection.engine.types import MediaKind


@pytest.fixture
def weights(tmp_path):
    spec = find_model()
    shutil.copy(WEIGHTS / REGISTRY, tmp_path)
    shutil.copy(spec.path, tmp_path)
    return tmp_path


def test_every_shipped_model_is_the_measured_file():
    _, specs = read_registry()
    for name in specs:
        spec = find_model(name)
        assert sha256_of(spec.path) == spec.sha256
        assert spec.metrics["validation_auc"]
        assert spec.data
        assert spec.licence


def test_a_changed_file_is_refused(weights):
    path = find_model(folder=weights).path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256") as caught:
        find_model(folder=weights)
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE


def test_a_missing_file_is_named(weights):
    path = find_model(folder=weights).path
    path.unlink()
    with pytest.raises(ModelError, match=path.name):
        find_model(folder=weights)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match=find_model().name):
        find_model("resnet")


def test_an_entry_from_before_compression_was_measured_gets_the_usual_limits(weights):
    path = weights / REGISTRY
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "blockiness" not in line))
    quality = find_model(folder=weights).quality
    assert 1 < quality.max_blockiness(MediaKind.VIDEO) < quality.max_blockiness(MediaKind.IMAGE)


@pytest.mark.parametrize(
    "change",
    [
        ("slope", "slop"),
        ("[models", "[model"),
        ("manipulated =", "manipulated = 7 #"),
        ("default =", "default = 'gone' #"),
        ("=", ":"),
    ],
)
def test_a_malformed_registry_is_a_coded_error(weights, change):
    path = weights / REGISTRY
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ModelError):
        find_model(folder=weights)


def test_a_missing_registry_is_a_coded_error(tmp_path):
    with pytest.raises(ModelError):
        find_model(folder=tmp_path)


def test_a_file_that_is_no_network_is_a_coded_error(weights):
    spec = find_model(folder=weights)
    spec.path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="cannot be run"):
        LiteRTClassifier(spec)
