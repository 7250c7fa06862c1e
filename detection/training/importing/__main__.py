"""``python -m detection.training.importing SOURCE FOLDER OPTIONS [SAMPLE...]``, for ``manage.py import_model``.

Opens the model in SOURCE, asks for what it does not tell, and writes the folder ``<name>-v<version>`` into FOLDER.
OPTIONS are :class:`~detection.training.importing.questions.Options` as JSON. Exit code 1: it cannot be imported; the
reason is the last line on stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import sklearn
import tensorflow as tf
import typer
from numpy.typing import NDArray

from detection.engine.errors import EngineError
from detection.engine.faces import BlazeFaceDetector
from detection.engine.media import Limits
from detection.engine.preprocessing import crop_box, extract
from detection.engine.registry import ModelSpec, sha256_of
from detection.engine.sandbox import Sandbox
from detection.training.importing import conversion
from detection.training.importing.questions import Options, answer
from detection.training.importing.sources import CannotImport, Foreign, Kind, open_source

CROPS = 16  # that the two forms are compared on, and as many of noise


def main(source: Path, folder: Path, options: Options, samples: Sequence[Path]) -> ModelSpec:
    """Import one model; returns what was written. Raises CannotImport or EngineError."""
    model = open_source(
        source, family=options.family, input_size=options.input_size, trusted=options.i_trust_this_pickle
    )
    print(f"{source.name}: {model.kind}")
    print(f"  takes  {_sides(model)} {model.dtype}")
    print(f"  gives  {_gives(model)}")
    answers = answer(options, model)
    target = folder / f"{options.name}-v{options.version}"
    target.mkdir()
    files = conversion.write_files(model, source, answers.input_size, target, options.runtime)
    spec = conversion.describe(options, answers, model, files)
    apart = None
    if None not in files:
        crops = np.stack([*islice(_faces(samples, spec), CROPS), *_noise(spec.input_size)])
        apart = conversion.differences(spec, crops)
        print(f"  LiteRT and TensorFlow differ by at most {apart:.6f} in probability on {len(crops)} crops")
        if not apart < conversion.TOLERANCE:
            print("  which is too much: TensorFlow will run it")
            spec = conversion.without_litert(spec)
    spec = replace(spec, provenance=_provenance(source, model, options, apart))
    conversion.write_manifest(spec)
    return spec


def _sides(model: Foreign) -> str:
    return " x ".join("?" if side is None else str(side) for side in model.shape)


def _gives(model: Foreign) -> str:
    if model.native:
        return "a logit, as our own networks"
    values = "1 value" if model.columns == 1 else f"{model.columns} values"
    return f"{values}, {model.activation or 'it cannot be seen after which activation'}"


def _faces(samples: Sequence[Path], spec: ModelSpec) -> Iterator[NDArray[np.uint8]]:
    """Faces as the engine would cut them for this model."""
    detector, opener = BlazeFaceDetector(), Sandbox()
    for path in samples:
        try:
            with opener(path, limits=Limits()) as media:
                for frame in media.sample(4):
                    for face in detector.detect(frame.image):
                        yield extract(frame.image, crop_box(face.landmarks, spec.crop_margin), spec.input_size)
        except EngineError as error:
            print(f"  {path.name}: {error.message}")


def _noise(size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (CROPS, size, size, 3)).astype(np.uint8)


def _provenance(source: Path, model: Foreign, options: Options, apart: float | None) -> dict[str, Any]:
    said = {key: value for key, value in asdict(options).items() if value is not None and value is not False}
    tools = {"tensorflow": tf.__version__, "keras": keras.__version__}
    if model.kind is Kind.PICKLE:
        tools["scikit-learn"] = sklearn.__version__
    noted = {
        "source": source.name,
        "source_sha256": sha256_of(source),
        "kind": str(model.kind),
        "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": said,
        "tools": tools,
    }
    return noted if apart is None else {**noted, "greatest_difference": round(apart, 7)}


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Options(**json.loads(sys.argv[3])), [Path(p) for p in sys.argv[4:]])
    except (CannotImport, EngineError) as error:
        sys.exit(str(error))
    except typer.Abort:
        sys.exit("The questions were not answered.")
