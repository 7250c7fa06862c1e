"""Bring your own model: ``manage.py import_model``, and then it judges what is uploaded."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import keras
import numpy as np
import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.test import Client
from sklearn.linear_model import LogisticRegression

from detection import registered_models, runner, services
from detection.engine.registry import MANIFEST, find_model, install, read_installed, sha256_of
from detection.models import Analysis, RegisteredModel
from tests import variants

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SIDE = 32
FACE = services.SAMPLE_PICTURES / "astronaut.jpg"
SAID = {"colour": "rgb", "scale": "0..1", "positive_class": "real", "threshold": 0.7}


@pytest.fixture(autouse=True)
def models_dir(settings: LazySettings, tmp_path: Path) -> Path:
    settings.MODELS_DIR = tmp_path / "models"
    return settings.MODELS_DIR


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network in the forms that people have theirs in."""
    folder = tmp_path_factory.mktemp("brought")
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.export(folder / "saved_model", verbose=False)
    model.export(folder / "model.tflite", format="litert", verbose=False)
    rng = np.random.default_rng(1)
    linear = LogisticRegression().fit(rng.random((40, SIDE * SIDE * 3)), np.arange(40) % 2)
    joblib.dump(linear, folder / "model.joblib")
    return folder


def bring(path: Path, **options) -> None:
    call_command("import_model", str(path), **{"sample": [FACE], "yes": True, **options})


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("saved_model", {"output": "probability"}),
        ("model.keras", {}),
        ("model.h5", {"runtime": "tensorflow"}),  # what a server does for one that LiteRT cannot run
        ("model.tflite", {"output": "probability"}),
        ("model.joblib", {"i_trust_this_pickle": True}),
    ],
)
def test_a_model_is_imported_activated_and_judges_what_is_uploaded(
    owner_client: Client, brought: Path, models_dir: Path, capfd, file: str, options: dict
):
    bring(brought / file, name="theirs", model_version="1", **SAID, **options)
    said = capfd.readouterr().out
    assert "P(fake)" in said
    assert "not measured here" in said
    (spec,) = read_installed(models_dir)
    assert (spec.label, spec.input_size, spec.video.manipulated) == ("theirs-v1", SIDE, pytest.approx(0.3))
    assert spec.provenance["source_sha256"] == sha256_of(brought / file)
    assert spec.provenance["options"]["threshold"] == 0.7
    assert (spec.litert is None) == (options.get("runtime") == "tensorflow")
    row = RegisteredModel.objects.get(name="theirs")
    registered_models.activate(row, by=None, reason="a test")
    with FACE.open("rb") as picture:
        sent = owner_client.post("/api/v1/analyses/", {"file": picture})
    runner.run(sent.json()["id"])
    told = owner_client.get(sent.json()["poll_url"]).json()
    assert told["status"] == "succeeded", told["error"]
    assert told["result"]["model"] == {"name": "theirs", "version": "1", "sha256": spec.sha256}
    assert told["result"]["threshold"] == pytest.approx(0.3)
    (face,) = told["result"]["frames"][0]["faces"]
    assert 0 < face["score"] < 1
    assert face["crop_url"]
    assert face["heatmap_url"] is None, "it gives no map, so there is nothing to show"
    assert Analysis.objects.get().model_sha256 == spec.sha256


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mesonet_as_it_was_published_says_what_it_is_known_to_say(
    shared_models: Path, shared_data: Path, models_dir: Path, capfd
):
    """Its documented score is P(real): near 1 on real portraits, low on the deepfakes that it was trained on."""
    faces = shared_data / "faces" / "val"
    reals, fakes = (sorted((faces / name).iterdir())[::4] for name in ("ffhq-real", "ffpp-deepfakes"))
    options = {"family": "meso4", "threshold": 0.5, "sample": [*reals, *fakes]}
    bring(shared_models / "mesonet" / "Meso4_DF.h5", name="mesonet", model_version="1", **options)
    shown = re.findall(r"  (\S+): \w+, P\(fake\) \S+, P\(real\) (\S+)", capfd.readouterr().out)
    scores = {name: float(score) for name, score in shown}
    real, fake = ([scores[path.name] for path in paths if path.name in scores] for paths in (reals, fakes))
    assert min(len(real), len(fake)) >= 3
    assert np.median(real) > 0.9
    assert np.median(fake) < 0.5
    (spec,) = read_installed(models_dir)
    assert spec.provenance["greatest_difference"] < 1e-3


def test_a_model_of_our_own_training_is_installed_as_its_folder_says(models_dir: Path, exported: Path):
    bring(exported)
    bring(exported)  # once more changes nothing
    spec = find_model("ours", installed=models_dir)
    assert (spec.label, spec.adapter) == ("ours-v3", None)
    assert RegisteredModel.objects.filter(name="ours").count() == 1


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder as ``detection.training export`` writes it."""
    return variants.install(tmp_path, "ours", "3").path.parent


def test_a_changed_file_is_refused(models_dir: Path, exported: Path):
    next(exported.glob("*.tflite")).write_bytes(b"another network")
    with pytest.raises(CommandError, match="SHA-256 differs"):
        bring(exported)
    assert not RegisteredModel.objects.filter(name="ours").exists()


def test_a_saved_model_that_comes_with_a_manifest_is_not_run(models_dir: Path, brought: Path, tmp_path: Path):
    """Nobody looked at its steps, as happens to one that is imported itself."""
    folder = variants.install(tmp_path, "ours", "3").path.parent
    shutil.copytree(brought / "saved_model", folder / "saved_model")
    with (folder / MANIFEST).open("a", encoding="utf-8") as manifest:
        digest = sha256_of(folder / "saved_model")
        manifest.write(f'\n[tensorflow]\nfile = "saved_model"\nsha256 = "{digest}"\n')
    with pytest.raises(CommandError, match="holds a SavedModel: import saved_model itself"):
        bring(folder)
    assert read_installed(models_dir) == []


def test_a_model_that_gives_no_numbers_is_not_installed(models_dir: Path, tmp_path: Path):
    layers = [keras.layers.Flatten(), keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(np.nan))]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    spec = variants.install(tmp_path, "broken", input_size=SIDE, adapter={"scale": "0..1"})
    manifest = spec.path.parent / MANIFEST
    shutil.copyfile(tmp_path / "model.tflite", spec.path)
    manifest.write_text(manifest.read_text().replace(spec.sha256, sha256_of(spec.path)))
    with pytest.raises(CommandError, match="'broken-v1' gave no number"):
        bring(spec.path.parent)
    assert read_installed(models_dir) == []


def test_a_model_that_takes_the_whole_process_down_is_not_installed(
    models_dir: Path, exported: Path, tmp_path: Path, monkeypatch
):
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\necho it was me >&2; kill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(crashing))
    with pytest.raises(CommandError, match=r"exit code -11\. it was me"):
        bring(exported)
    assert read_installed(models_dir) == []


def test_a_folder_that_cannot_be_written_is_said_in_words(exported: Path, settings: LazySettings):
    settings.MODELS_DIR = FACE / "models"
    with pytest.raises(CommandError, match="cannot be copied"):
        bring(exported)


def test_a_shipped_model_is_not_replaced(models_dir: Path, exported: Path):
    spec = find_model()
    manifest = exported / MANIFEST
    text = manifest.read_text().replace('version = "3"', f'version = "{spec.version}"')
    manifest.write_text(text.replace('name = "ours"', f'name = "{spec.name}"'))
    with pytest.raises(CommandError, match="shipped"):
        bring(exported)
    assert read_installed(models_dir) == []


@pytest.mark.parametrize("name", [None, "../theirs", "Theirs"])
def test_a_name_that_is_none_is_refused_before_anything_is_opened(name: str | None):
    with pytest.raises(CommandError, match="--name and --version"):
        bring(FACE, name=name, model_version="1", **SAID)


def test_without_a_terminal_nothing_is_installed_unasked(models_dir: Path, exported: Path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="--yes"):
        bring(exported, yes=False)
    assert read_installed(models_dir) == []


def test_a_folder_that_was_installed_by_hand_is_installed_whole(models_dir: Path, exported: Path):
    install(exported, models_dir)
    assert [path.name for path in models_dir.iterdir()] == ["ours-v3"]


def test_the_command_itself_needs_no_tensorflow():
    code = "import detection.management.commands.import_model, sys; print('tensorflow' in sys.modules)"
    command = [sys.executable, "-c", f"import django; django.setup(); {code}"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={"DJANGO_SETTINGS_MODULE": "config.settings", "VERIFRAME_DEBUG": "1", "VERIFRAME_ENV_FILE": ""},
    )
    assert done.stdout.strip() == "False"
