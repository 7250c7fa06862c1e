"""A model is the file that was measured, or it is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from detection.engine.errors import ErrorCode, ModelError
from detection.engine.registry import (
    MANIFEST,
    REGISTRY,
    WEIGHTS,
    find_model,
    install,
    read_installed,
    read_registry,
    sha256_of,
)
from detection.engine.runtimes.litert import LiteRTClassifier
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


# -- Models that were brought or trained later


MODEL = """
name = "{name}"
version = "{version}"
file = "model.tflite"
sha256 = "{sha256}"
architecture = "theirs"
input_size = 32
crop_margin = 2.76
licence = "MIT"
data = []
metrics = {{}}
image = {{ slope = 1, intercept = 0, suspicious = 0.3, manipulated = 0.3 }}
video = {{ slope = 1, intercept = 0, suspicious = 0.3, manipulated = 0.3 }}
quality = {{ min_face_size = 64, min_sharpness = 8, min_brightness = 25, min_detail = 0.7, min_frames = 4 }}
tensorflow = {{ file = "saved_model", sha256 = "{folder_sha256}" }}
adapter = {{ scale = "0..1", positive = "real" }}
provenance = {{ source = "theirs.h5" }}
"""


def brought(folder: Path, name: str = "theirs", version: str = "1", weights: bytes = b"weights") -> Path:
    """A folder as ``import_model`` makes it, with something in it that belongs to no model."""
    (folder / "saved_model" / "variables").mkdir(parents=True)
    (folder / "model.tflite").write_bytes(weights)
    (folder / "saved_model" / "saved_model.pb").write_bytes(weights)
    (folder / "saved_model" / "variables" / "index").write_bytes(b"numbers")
    (folder / "notes.txt").write_text("not ours")
    hashes = {"sha256": sha256_of(folder / "model.tflite"), "folder_sha256": sha256_of(folder / "saved_model")}
    (folder / MANIFEST).write_text(MODEL.format(name=name, version=version, **hashes))
    return folder


def test_a_model_is_installed_whole_and_found_by_name_and_label(tmp_path):
    models = tmp_path / "models"
    assert read_installed(models) == []
    spec = install(brought(tmp_path / "source"), models)
    assert sorted(path.name for path in spec.path.parent.iterdir()) == ["model.tflite", MANIFEST, "saved_model"]
    assert [path.name for path in models.iterdir()] == ["theirs-v1"], "nothing is left over from copying"
    assert read_installed(models) == [spec]
    for name in ("theirs", "theirs-v1"):
        assert find_model(name, installed=models) == spec
    assert (spec.adapter.scale, spec.adapter.positive, spec.adapter.index) == ("0..1", "real", None)
    assert spec.tensorflow.path.is_dir()
    assert find_model(installed=models) == find_model(), "the default is still the shipped one"


def test_installing_again_changes_nothing_and_another_model_needs_another_version(tmp_path):
    models = tmp_path / "models"
    spec = install(brought(tmp_path / "source"), models)
    assert install(tmp_path / "source", models) == spec
    with pytest.raises(ModelError, match="another model theirs-v1"):
        install(brought(tmp_path / "changed", weights=b"others"), models)
    assert install(brought(tmp_path / "second", version="2", weights=b"others"), models).label == "theirs-v2"
    with pytest.raises(ModelError, match="several models named 'theirs': theirs-v1, theirs-v2"):
        find_model("theirs", installed=models)
    assert find_model("theirs", "2", installed=models).label == "theirs-v2"


def test_other_settings_for_the_same_weights_are_another_model(tmp_path):
    install(brought(tmp_path / "source"), tmp_path / "models")
    manifest = tmp_path / "source" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"real"', '"fake"'))
    with pytest.raises(ModelError, match="another model"):
        install(tmp_path / "source", tmp_path / "models")


@pytest.mark.parametrize("file", ["model.tflite", "saved_model/saved_model.pb", "saved_model/variables/index"])
def test_every_file_of_an_installed_model_is_guarded(tmp_path, file):
    spec = install(brought(tmp_path / "source"), tmp_path / "models")
    (spec.path.parent / file).write_bytes(b"changed")
    with pytest.raises(ModelError, match="SHA-256"):
        find_model("theirs", installed=tmp_path / "models")


@pytest.mark.parametrize(
    "change",
    [
        ('file = "model.tflite"', 'file = "../model.tflite"'),
        ('file = "saved_model"', 'file = ".."'),
        ('name = "theirs"', 'name = "../theirs"'),
        ('version = "1"', 'version = ""'),
        ('"0..1"', '"0..2"'),
        ("manipulated = 0.3", "manipulated = 1.3"),
        ("input_size", "size"),
        ("input_size = 32", "input_size = 0"),
        ("crop_margin = 2.76", "crop_margin = inf"),
        ("suspicious = 0.3", "suspicious = nan"),
        ("slope = 1", "slope = 1e999"),
        ("min_detail = 0.7", "min_detail = nan"),
        ("adapter =", "adapter = 1 #"),
    ],
)
def test_a_malformed_manifest_is_a_coded_error(tmp_path, change):
    source = brought(tmp_path / "source")
    text = (source / MANIFEST).read_text()
    assert change[0] in text
    (source / MANIFEST).write_text(text.replace(*change))
    with pytest.raises(ModelError, match="malformed"):
        install(source, tmp_path / "models")
    assert read_installed(tmp_path / "models") == []


def test_a_broken_model_keeps_no_shipped_one_from_its_work(tmp_path):
    (tmp_path / "models" / "broken-v1").mkdir(parents=True)
    (tmp_path / "models" / "broken-v1" / MANIFEST).write_text("name = ")
    assert find_model(installed=tmp_path / "models") == find_model()
    with pytest.raises(ModelError, match="broken-v1"):
        find_model("theirs", installed=tmp_path / "models")


def test_a_broken_model_keeps_no_other_installed_one_from_its_work(tmp_path):
    models = tmp_path / "models"
    spec = install(brought(tmp_path / "source"), models)
    (models / "broken-v1").mkdir()
    (models / "broken-v1" / MANIFEST).write_text("name = ")
    assert find_model("theirs", "1", installed=models) == find_model("theirs-v1", installed=models) == spec


def test_a_link_in_a_model_is_refused(tmp_path):
    """What it leads to has no part in the hash."""
    source = brought(tmp_path / "source")
    variables = source / "saved_model" / "variables"
    variables.rename(tmp_path / "elsewhere")
    variables.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"a link \(variables\)"):
        install(source, tmp_path / "models")


def test_what_a_killed_copy_left_is_removed_by_the_next(tmp_path):
    stale, recent = (tmp_path / "models" / f".incoming-{name}" for name in ("stale", "recent"))
    for left in (stale, recent):
        (left / "theirs-v1").mkdir(parents=True)
    os.utime(stale, (0, 0))
    install(brought(tmp_path / "source"), tmp_path / "models")
    assert (stale.exists(), recent.exists()) == (False, True), "the recent one may still be at it"
