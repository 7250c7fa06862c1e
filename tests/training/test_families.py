"""The frame families: batches, the loop for faces of one's own, and the way from a run to a folder that is served."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest

from detection.engine import runtimes
from detection.engine.registry import check_files, read_manifest
from detection.training import evaluate, families, packaging, runs, train
from detection.training.datasets import read_manifest as read_faces
from detection.training.singles import LightFaces, PlainFaces
from tests.engine.builders import lively_weights, short_efficientnet

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def config(tiny_toml):
    return replace(train.read_config(tiny_toml), augment="light", steps_per_epoch=1, fake_weights={})


class TestBatches:
    def test_half_of_a_batch_is_real_and_it_can_be_made_again(self, config, collection):
        faces = LightFaces(read_faces(collection), config.recipe)
        crops, targets, weights = faces[1]
        assert crops.shape == (8, 32, 32, 3)
        assert targets["logit"][:, 0].tolist() == [0, 1] * 4
        assert not weights["regions"].any()  # nobody knows which regions were changed
        assert np.array_equal(crops, faces[1][0])
        faces.on_epoch_end()
        assert not np.array_equal(crops, faces[1][0])

    def test_a_family_that_names_no_regions_is_not_asked_for_them(self, config):
        samples = train.training_samples(config)
        for augment in ("light", "pairs"):
            _, targets, weights = train.make_batches(replace(config, augment=augment, architecture="meso4"))[0]
            assert targets.keys() == weights.keys() == {"logit"}, augment
        assert PlainFaces(samples, config.recipe)[0][1].keys() == {"logit", "regions"}

    def test_validation_shows_every_face_once_as_serving_cuts_it(self, config, collection):
        samples = read_faces(collection)[:11]
        faces = PlainFaces(samples, config.recipe)
        parts = [faces[i] for i in range(len(faces))]
        assert [len(part[0]) for part in parts] == [8, 3]
        labels = np.concatenate([part[1]["logit"][:, 0] for part in parts])
        assert labels.tolist() == [sample.label for sample in samples]


def untrained(config):
    """A run's folder as training would leave it, but for the training: weights that keep signals alive."""
    network = train.build(config, weights=config.pretrained)
    if config.pretrained is None:
        lively_weights(network, np.random.default_rng(1))
    config.output.mkdir()
    network.save_weights(config.output / train.WEIGHTS_FILE)
    (config.output / train.NOTE_FILE).write_text(json.dumps(asdict(config), default=str))
    return network


EXPORTED = ("efficientnetb0", "efficientnet-lite0", "mesoinception4")


@pytest.mark.parametrize("architecture", EXPORTED)
def test_a_run_becomes_a_folder_that_the_engine_serves(config, architecture, tmp_path, monkeypatch):
    """From published weights and with a map of evidence, and without either."""
    config = replace(config, architecture=architecture)
    if architecture == "efficientnetb0":
        short_efficientnet(monkeypatch, tmp_path)
        config = replace(config, pretrained="imagenet")
    network = untrained(config)
    points = packaging.calibrate(config.output)
    assert points.faces > 0
    packaging.export(config.output, "mine", "1", tmp_path / "mine", licence="CC0")
    spec = read_manifest(tmp_path / "mine")
    check_files(spec)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["model.keras", "model.tflite", "model.toml"]
    assert (spec.label, spec.architecture, spec.input_size, spec.licence) == ("mine-v1", architecture, 32, "CC0")
    assert (spec.image, spec.video) == (points.image, points.video)
    assert spec.metrics["validation_real"] == 10
    assert any(line.startswith("drawn-patch (") for line in spec.data)
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    trained = runs.Network(network)(crops)
    kept = runs.Network(keras.saving.load_model(spec.tensorflow.path))
    assert kept(crops) == pytest.approx(trained, rel=1e-3, abs=1e-3 * float(np.ptp(trained)))
    # TensorFlow takes half a minute to trace a MobileNet at every batch size that it tries.
    for runtime in ("litert", "tensorflow") if architecture == "mesoinception4" else ("litert",):
        answer = runtimes.load(spec, runtime=runtime).predict(crops)
        assert answer.logits == pytest.approx(trained, rel=1e-3, abs=1e-3 * float(np.ptp(trained))), runtime
        assert (answer.evidence is None) == (architecture == "mesoinception4")


def test_a_model_folder_is_measured_wherever_it_lies(config, tmp_path, monkeypatch):
    config = replace(config, architecture="meso4")
    untrained(config)
    packaging.calibrate(config.output)
    spec = packaging.export(config.output, "mine", "1", tmp_path / "mine")
    plan = evaluate.Plan(config.manifests, tmp_path / "report", folder=tmp_path / "mine", quick=True)
    report = evaluate.run(plan)
    assert report["model"]["sha256"] == spec.sha256
    assert report["videos"]["overall"]["real"] == 10
    assert "bars" not in report  # what a release must show is not asked of it
    assert "# mine 1" in (tmp_path / "report" / "report.md").read_text()
    # What does not say what was trained is not written, and what lay there stays a whole model.
    monkeypatch.setattr(packaging.agreement, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="differs from the network"):
        packaging.export(config.output, "mine", "2", tmp_path / "mine")
    assert read_manifest(tmp_path / "mine") == spec
    check_files(spec)


class TestUserLoop:
    """What a run of one's own has beside the recipe of the shipped network."""

    def test_it_is_validated_kept_at_its_best_and_recorded(self, config):
        config = replace(config, architecture="meso4", epochs=3, patience=1, schedule="plateau", steps_per_epoch=1)
        train.train(config)
        with (config.output / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {"loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc"} <= rows[0].keys()
        best = min(float(row["val_loss"]) for row in rows)
        assert train._best_so_far(config) == best
        assert list((config.output / "tensorboard").rglob("events.out.tfevents.*"))
        # The weights that are kept are those that were validated, which are the average and not where training went on.
        validation = train._validation(config)
        network = runs.load(config.output)
        train._compile(network, config)
        assert network.evaluate(validation, verbose=0, return_dict=True)["loss"] == pytest.approx(best, rel=1e-3)

    def test_a_loss_that_was_no_number_is_not_the_best(self, config):
        config.output.mkdir()
        log = config.output / train.LOG_FILE
        log.write_text("epoch,loss,val_loss\n0,1,nan\n1,1,0.5\n2,1,0.7\n")
        assert train._best_so_far(config) == 0.5
        log.write_text("epoch,loss,val_loss\n0,1,nan\n")
        assert train._best_so_far(config) is None

    def test_a_run_that_began_unvalidated_does_not_go_on_validated(self, config):
        config.output.mkdir()
        (config.output / train.LOG_FILE).write_text("epoch,loss\n0,1\n")
        with pytest.raises(ValueError, match="began without a patience"):
            train._best_so_far(config)

    def test_without_anybody_to_validate_on_it_does_not_begin(self, config, monkeypatch):
        samples = [s for s in train.read_manifests(config.manifests) if s.split != "calibration"]
        monkeypatch.setattr(train, "read_manifests", lambda paths: samples)
        with pytest.raises(ValueError, match="patience needs"):
            train.train(replace(config, architecture="meso4", patience=2))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"schedule": "plateau"}, "needs a patience"),
            ({"augment": "heavy"}, "augment is one of"),
            ({"architecture": "resnet"}, "there is no architecture"),
            ({"architecture": "sequence-resnet50"}, "not exported, imported or served"),
            ({"architecture": "meso4", "pretrained": "imagenet"}, "are a file"),
        ],
    )
    def test_settings_that_cannot_be_are_refused(self, config, changes, message):
        with pytest.raises(ValueError, match=message):
            train.train(replace(config, **changes))


def test_a_run_that_was_not_calibrated_is_not_exported(config, tmp_path):
    config.output.mkdir()
    (config.output / "config.json").write_text('{"manifests": ["m.csv"], "output": "run"}')
    with pytest.raises(ValueError, match="training calibrate --run"):
        packaging.export(config.output, "mine", "1", tmp_path / "mine")


def test_a_name_that_no_model_may_have_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(ValueError, match="no name and version"):
        packaging.export(tmp_path / "run", "My model", "1", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_every_family_takes_uint8_pictures_and_gives_a_logit():
    crops = np.zeros((2, 32, 32, 3), np.uint8)
    for name in families.FAMILIES.keys() - EXPORTED:  # those have shown it above
        network = families.build(name, 32)
        assert network.input.dtype == "uint8"
        assert network(crops, training=False)["logit"].shape == (2, 1)
