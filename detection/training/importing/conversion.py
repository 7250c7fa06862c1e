"""Writes a foreign model as the folder that the engine serves, and holds its two forms against each other."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf
import tomli_w
from numpy.typing import NDArray

from detection.engine import runtimes
from detection.engine.classifier import Classifier
from detection.engine.registry import MANIFEST, ModelFile, ModelSpec, OperatingPoint, sha256_of
from detection.engine.runtimes.tensorflow import ENDPOINT
from detection.training.importing.questions import Answers, Options
from detection.training.importing.sources import CannotImport, Foreign, Kind
from detection.training.packaging import manifest
from detection.training.release import QUALITY

TOLERANCE: Final = 1e-3  # in probability; beyond it LiteRT would be another model


def write_files(model: Foreign, source: Path, size: int, folder: Path, runtime: str) -> tuple[Path | None, Path | None]:
    """The model for LiteRT and for TensorFlow, each where it can be had and is wanted.

    Raises:
        CannotImport: nothing is left.
    """
    litert = _for_litert(model, source, size, folder) if runtime != "tensorflow" else None
    tensorflow = _for_tensorflow(model, folder) if runtime != "litert" and model.kind is not Kind.LITERT else None
    if litert is None and tensorflow is None:
        raise CannotImport(f"There is nothing that --runtime {runtime} could run.")
    return litert, tensorflow


def _for_tensorflow(model: Foreign, folder: Path) -> Path:
    """In a form that holds no Python."""
    if model.kind is not Kind.SAVED_MODEL:
        model.network.save(folder / "model.keras")
        return folder / "model.keras"
    # Written anew and not copied: under the name that the engine asks for, and without what else lay there.
    tf.saved_model.save(model.network, str(folder / "saved_model"), signatures={ENDPOINT: model.signature})
    return folder / "saved_model"


def _for_litert(model: Foreign, source: Path, size: int, folder: Path) -> Path | None:
    path = folder / "model.tflite"
    if model.kind is Kind.LITERT:
        shutil.copyfile(source, path)
        return path
    try:
        path.write_bytes(_converted(model, size))
    except Exception as error:  # noqa: BLE001  (the converter raises whatever its parts raise; TensorFlow is left)
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        print(f"LiteRT cannot run it ({reason[:200]}); TensorFlow will.")
        return None
    return path


def _converted(model: Foreign, size: int) -> bytes:
    """In full precision, unlike what training exports: what somebody brings shall stay what it was."""
    archive = keras.export.ExportArchive()
    archive.track(model.network)
    archive.add_endpoint("serve", model.call, input_signature=[tf.TensorSpec((1, size, size, 3), model.dtype)])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"]).convert())


def describe(options: Options, answers: Answers, model: Foreign, files: tuple[Path | None, Path | None]) -> ModelSpec:
    """The spec of what was written. Nobody calibrated or measured it here, and it says so by what it lacks."""
    litert, tensorflow = files
    main = litert or tensorflow
    assert main is not None
    point = OperatingPoint(1.0, 0.0, suspicious=answers.suspicious, manipulated=answers.manipulated)
    return ModelSpec(
        name=options.name,
        version=options.version,
        path=main,
        sha256=sha256_of(main),
        architecture=options.family or getattr(model.network, "name", "") or str(model.kind),
        input_size=answers.input_size,
        crop_margin=answers.crop_margin,
        image=point,
        video=point,
        quality=QUALITY,
        metrics={},
        data=(),
        licence=options.licence or "not stated",
        tensorflow=None if tensorflow is None else ModelFile(tensorflow, sha256_of(tensorflow)),
        adapter=answers.adapter,
    )


def differences(spec: ModelSpec, crops: NDArray[np.uint8]) -> float:
    """How far LiteRT and TensorFlow are apart at most on ``crops``, in probability."""
    ours, theirs = (_probabilities(runtimes.load(spec, runtime=runtime), crops) for runtime in ("litert", "tensorflow"))
    return float(np.abs(ours - theirs).max())


def _probabilities(classifier: Classifier, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-classifier.predict(crops).logits.astype(np.float64)))


def without_litert(spec: ModelSpec) -> ModelSpec:
    """The same, run by TensorFlow alone."""
    assert spec.tensorflow is not None
    spec.path.unlink()
    return replace(spec, path=spec.tensorflow.path, sha256=spec.tensorflow.sha256)


def write_manifest(spec: ModelSpec) -> Path:
    """``model.toml`` beside the files."""
    path = spec.path.parent / MANIFEST
    path.write_text(tomli_w.dumps(manifest(spec)), encoding="utf-8")
    return path
