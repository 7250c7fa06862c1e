"""A trained run as a model folder: calibrated, converted, measured, ready for ``manage.py import_model``."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf
import tomli_w

from detection.engine.registry import (
    MANIFEST,
    ModelFile,
    ModelSpec,
    OperatingPoint,
    check_label,
    read_manifest,
    sha256_of,
)
from detection.engine.runtimes.litert import LiteRTClassifier
from detection.training import agreement, release, runs
from detection.training.datasets import Sample, read_manifests
from detection.training.evaluate import Scores
from detection.training.export import served, to_litert
from detection.training.scoring import Detector, score_faces
from detection.training.train import Config, read_noted, training_samples

POINTS_FILE = "calibration.json"  # in the folder of a run
LITERT_FILE, KERAS_FILE = "model.tflite", "model.keras"


class Points(NamedTuple):
    """Where a run's scores turn into verdicts, and on how many faces that was found."""

    image: OperatingPoint
    video: OperatingPoint
    faces: int


def calibrate(run: Path) -> Points:
    """Fit the operating points of a run on its calibration people, and leave them in its folder.

    Raises:
        ValueError: there are no real or no manipulated faces of such people.
    """
    config = read_noted(run)
    samples = _split(config, "calibration")
    if {sample.label for sample in samples} != {0, 1}:
        raise ValueError("calibrating needs real and manipulated faces in the calibration split; there are not both")
    held_out = runs.score_network(runs.Network(runs.load(run)), samples, config)
    points = points_of(held_out)
    note = {"image": asdict(points.image), "video": asdict(points.video), "faces": points.faces}
    (run / POINTS_FILE).write_text(json.dumps(note, indent=2), encoding="utf-8")
    return points


def points_of(held_out: Scores) -> Points:
    video = release.video_point(held_out, release.QUALITY.min_frames)
    return Points(release.image_point(held_out), video, len(held_out.samples))


def read_points(run: Path) -> Points:
    """What :func:`calibrate` left. Raises ValueError if it was not run."""
    try:
        noted = json.loads((run / POINTS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{run} is not calibrated: python -m detection.training calibrate --run {run}") from error
    return Points(OperatingPoint(**noted["image"]), OperatingPoint(**noted["video"]), noted["faces"])


def export(run: Path, name: str, version: str, output: Path, *, licence: str = "not stated") -> ModelSpec:
    """Write the run's network for LiteRT and for Keras to ``output``, with the ``model.toml`` that describes it.

    Both have float32 weights and give the trained network's scores to within
    :data:`~detection.training.agreement.TOLERANCE`. ``model.toml`` comes last: a folder without one is no model.

    The figures in it are those of the LiteRT file on ``val``, which neither training nor calibration sees.

    Args:
        run: folder of a run, an average or an ensemble that was calibrated.
        name: of the model; small letters, digits, ``.``, ``_`` and ``-``.
        version: of the model.
        output: folder to write to; made when it does not exist.
        licence: of the weights, as the model's page tells it.

    Raises:
        ValueError: these may not name a model, the run is not calibrated, or LiteRT's file does not say what the
            network says.
    """
    check_label(name, version)
    config, points, network = read_noted(run), read_points(run), runs.load(run)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output) as folder:
        parts = Path(folder)
        spec = replace(_written(run, config, network, name, version, parts), image=points.image, video=points.video)
        spec = _measured(run, config, network, replace(spec, licence=licence), points)
        (parts / MANIFEST).write_text(tomli_w.dumps(manifest(spec)), encoding="utf-8")
        (output / MANIFEST).unlink(missing_ok=True)
        for part in (LITERT_FILE, KERAS_FILE, MANIFEST):
            (parts / part).replace(output / part)
    return read_manifest(output)


def _written(run: Path, config: Config, network: Any, name: str, version: str, folder: Path) -> ModelSpec:
    file, kept = to_litert(network, folder / LITERT_FILE, half=False), folder / KERAS_FILE
    served(network).save(kept)
    spec = release.unmeasured(config, release.architecture_of(run), name, version, file)
    return replace(spec, data=_sources(config), tensorflow=ModelFile(kept, sha256_of(kept)))


def _measured(run: Path, config: Config, network: Any, spec: ModelSpec, points: Points) -> ModelSpec:
    detector = Detector(spec, LiteRTClassifier(spec))
    compared = agreement.with_network(_split(config, "calibration"), detector, runs.Network(network))
    if not compared["met"]:
        raise ValueError(f"{LITERT_FILE} differs from the network by {compared['largest_score_difference']:.4f}")
    figures = _figures(detector, _split(config, "val"), points)
    return replace(spec, metrics=figures, provenance=_provenance(run, compared))


def manifest(spec: ModelSpec) -> dict[str, Any]:
    """A model's ``model.toml``."""
    document = {"name": spec.name, **release.entry(spec, dict(spec.metrics)), "provenance": dict(spec.provenance)}
    if spec.tensorflow is not None:
        document["tensorflow"] = {"file": spec.tensorflow.path.name, "sha256": spec.tensorflow.sha256}
    if spec.adapter is not None:
        document["adapter"] = spec.adapter.as_entry()
    return document


def _split(config: Config, split: str) -> list[Sample]:
    return [sample for sample in read_manifests(config.manifests) if sample.split == split]


def _sources(config: Config) -> tuple[str, ...]:
    """What the network was trained on, as the model's page tells it: a source a line, with its number of faces."""
    faces = Counter(sample.origin for sample in training_samples(config))
    return tuple(f"{origin} ({number} faces)" for origin, number in sorted(faces.items()))


def _figures(detector: Detector, samples: list[Sample], points: Points) -> dict[str, Any]:
    if {sample.label for sample in samples} != {0, 1}:
        return {}  # pages say of such a model that it was not measured
    return release.metrics_of(points.faces, score_faces(samples, detector, what="val"), detector.spec)


def _provenance(run: Path, compared: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": f"detection.training, run {run.name}",
        "date": datetime.now(UTC).date().isoformat(),
        "largest_score_difference": compared["largest_score_difference"],  # LiteRT's file against the trained network
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
