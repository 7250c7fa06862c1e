"""``python -m detection.training COMMAND``: train, release and evaluate the classifier.

train    --config detection/training/configs/first.toml
release  --config ... --name mobilenetv2-192 --version 1
evaluate --manifest ../shared/data/faces/manifest.csv [--model NAME]
sheet    --config ... --output sheet.png
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

from detection.engine.classifier import LiteRTClassifier
from detection.engine.registry import WEIGHTS, find_model
from detection.training.datasets import read_manifest
from detection.training.evaluate import auc_by_origin, score, table
from detection.training.release import release
from detection.training.train import FaceBatches, read_config, train


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m detection.training")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "release", "sheet"):
        command = commands.add_parser(name)
        command.add_argument("--config", type=Path, required=True)
        if name == "release":
            command.add_argument("--name", required=True)
            command.add_argument("--version", required=True)
            command.add_argument("--weights-dir", type=Path, default=WEIGHTS)
        if name == "sheet":
            command.add_argument("--output", type=Path, required=True)
    command = commands.add_parser("evaluate")
    command.add_argument("--manifest", type=Path, required=True)
    command.add_argument("--model")
    options = parser.parse_args(arguments)
    if options.command == "train":
        print(train(read_config(options.config)))
    elif options.command == "release":
        print(release(read_config(options.config), options.name, options.version, options.weights_dir))
    elif options.command == "sheet":
        contact_sheet(options.config, options.output)
    else:
        print(evaluate(options.manifest, options.model))
    return 0


def evaluate(manifest: Path, model: str | None) -> str:
    """AUC per manipulation of the shipped file on the manifest's ``val`` rows, as Markdown."""
    spec = find_model(model)
    samples = [s for s in read_manifest(manifest) if s.split == "val"]
    scores = score(samples, LiteRTClassifier(spec), margin=spec.crop_margin, size=spec.input_size)
    return f"{spec.name} {spec.version} ({spec.sha256[:12]})\n\n{table(auc_by_origin(scores))}"


def contact_sheet(config: Path, output: Path) -> None:
    """Write a picture of two batches as training sees them: real and self-blended pairs first."""
    settings = read_config(config)
    batches = FaceBatches([s for s in read_manifest(settings.manifest) if s.split == "train"], settings)
    crops = np.concatenate([batches[0][0], batches[1][0]])
    rows = [np.hstack(list(crops[i : i + 8])) for i in range(0, len(crops) // 8 * 8, 8)]
    cv2.imwrite(str(output), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    sys.exit(main())
