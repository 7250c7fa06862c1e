"""``python -m detection.training COMMAND``: from a folder of videos to the file that the engine serves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
import typer

from detection.engine.registry import WEIGHTS, find_model
from detection.training import (
    autoencoder,
    combinations,
    experiments,
    model_card,
    packaging,
    published,
    recovery,
    sequences,
    tables,
)
from detection.training import evaluate as evaluation
from detection.training import prepare as preparation
from detection.training import release as releasing
from detection.training import runs as trained
from detection.training import shortcuts as surface
from detection.training import train as training
from detection.training.datasets import read_manifest
from detection.training.mesh import find_meshes
from detection.training.sheet import contact_sheet

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

ConfigFile = Annotated[Path, typer.Option("--config", help="TOML file, see detection/training/configs")]
Seed = Annotated[int | None, typer.Option(help="instead of the configuration's")]
Output = Annotated[Path | None, typer.Option(help="folder, instead of the configuration's")]
Runs = Annotated[list[Path], typer.Option("--run", help="output folder of a run; once for each")]
Run = Annotated[Path, typer.Option(help="folder of a run, an average or an ensemble")]
Results = Annotated[Path, typer.Option(help="JSON file that takes the figures; runs that it has are not repeated")]


def _config(file: Path, seed: int | None = None, output: Path | None = None) -> training.Config:
    return training.read_config(file, **_given(seed=seed, output=output))


def _given(**options: Any) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


@app.command()
def prepare(
    source: Annotated[Path, typer.Option(help="folder of a collection of videos or pictures")],
    output: Annotated[Path, typer.Option(help="folder for the crops and manifest.csv")],
    layout: Annotated[str | None, typer.Option(help="of the collection; recognised when left out")] = None,
    frames: Annotated[int, typer.Option(help="of each video, evenly")] = 10,
    limit: Annotated[int | None, typer.Option(help="at most so many media of each split and origin")] = None,
    yunet_model: Annotated[Path | None, typer.Option(help="find faces with YuNet instead of BlazeFace")] = None,
) -> None:
    """Cut the faces out of a collection's videos and pictures. Goes on where an earlier run was stopped."""
    options = preparation.Options(frames=frames, face_detector="yunet" if yunet_model else "blazeface")
    summary = preparation.prepare(source, output, layout=layout, options=options, limit=limit, yunet_model=yunet_model)
    print(f"{summary.manifest}: {sum(summary.crops.values())} crops of {summary.media} media")
    for name, number in sorted({**summary.crops, **summary.skipped}.items()):
        print(f"  {name}: {number}")


@app.command()
def sheet(config: ConfigFile, picture: Annotated[Path, typer.Option(help="PNG file to write")]) -> None:
    """Draw what the augmentation makes of some faces, to be looked at before training."""
    settings = _config(config)
    samples = training.training_samples(settings)
    meshes = {} if settings.meshes is None else find_meshes(samples, settings.meshes)
    drawn = contact_sheet(samples, meshes, np.random.default_rng(settings.seed), margin=settings.crop_margin)
    cv2.imwrite(str(picture), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))


@app.command("published")
def write_published(output: Annotated[Path, typer.Option(help=".weights.h5 to write")]) -> None:
    """Write EfficientNet-Lite0's weights for ImageNet, for a configuration's `pretrained`."""
    print(published.write_published(output))


@app.command()
def train(config: ConfigFile, seed: Seed = None, output: Output = None) -> None:
    """Train one network. An interrupted run goes on after its last whole epoch (sequences begin anew: minutes)."""
    if sequences.configures(config):
        print(sequences.train(sequences.read_config(config, **_given(seed=seed, output=output))))
    else:
        print(training.train(_config(config, seed, output)))


@app.command()
def calibrate(run: Run) -> None:
    """Fit a run's scores and thresholds on people that it was not trained on."""
    points = packaging.calibrate(run)
    print(f"{points.faces} faces\nimage: {points.image}\nvideo: {points.video}")


@app.command()
def export(
    run: Run,
    name: Annotated[str, typer.Option(help="of the model: small letters, digits, '.', '_', '-'")],
    version: Annotated[str, typer.Option()],
    output: Annotated[Path, typer.Option(help="folder for model.toml and the model's files")],
    licence: Annotated[str, typer.Option(help="of the weights, as the model's page tells it")] = "not stated",
) -> None:
    """Write a calibrated run as a folder that `manage.py import_model` takes."""
    spec = packaging.export(run, name, version, output, licence=licence)
    print(json.dumps({"sha256": spec.sha256, "metrics": spec.metrics, "provenance": spec.provenance}, indent=2))


@app.command()
def compare_sequence(
    run: Annotated[Path, typer.Option(help="folder of a sequence run")],
    beside: Annotated[Path, typer.Option(help="folder of the frame model's run")],
    results: Annotated[Path, typer.Option(help="JSON file that takes the figures")],
) -> None:
    """Measure a sequence run on the videos of `val`, alone and fused with a frame model.

    That is all there is to do with one: it is not exported, imported or served.
    """
    found = sequences.compare(run, beside)
    results.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(sequences.markdown(found))


@app.command()
def recover(
    output: Annotated[Path, typer.Option(help="folder for the runs")],
    manifest: Annotated[list[Path], typer.Option(help="manifest.csv; noted for what comes next; once for each")],
    pretrained: Annotated[Path | None, typer.Option(help="weights that the networks began with; noted, too")] = None,
) -> None:
    """Read the shipped file back as runs, to train on from it or to join it with others."""
    folder, members = recovery.recover(find_model(), output, manifests=tuple(manifest), pretrained=pretrained)
    print("\n".join(str(path) for path in (folder, *members)))


@app.command()
def redraw(
    manifest: Annotated[Path, typer.Option(help="manifest.csv whose genuine training faces are drawn anew")],
    output: Annotated[Path, typer.Option(help="folder for the pictures and their manifest.csv")],
    enlarger: Annotated[list[str] | None, typer.Option(help="of an autoencoder; all if not given")] = None,
    steps: Annotated[int, typer.Option(help="to train each autoencoder")] = 900,
    every: Annotated[int, typer.Option(help="takes only every so-manyth face")] = 2,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Train small autoencoders, and draw genuine faces anew with them: manipulated ones for training."""
    samples = [s for s in read_manifest(manifest) if s.split == "train"]
    names = enlarger or list(autoencoder.ENLARGERS)
    models = {name: autoencoder.train(name, samples, steps=steps, seed=seed + i) for i, name in enumerate(names)}
    print(autoencoder.redraw_manifest(manifest, output, models, every=every))


@app.command()
def average(runs: Runs, output: Annotated[Path, typer.Option(help="folder for the averaged weights")]) -> None:
    """Average the weights of several runs that started from the same network."""
    print(trained.average(runs, output))


@app.command()
def combine(runs: Runs, output: Annotated[Path, typer.Option(help="folder for the note of the ensemble")]) -> None:
    """Make one network that averages the calibrated answers of several runs of different recipes."""
    print(trained.combine(runs, output))


@app.command()
def compare_runs(
    runs: Runs,
    manifests: Annotated[list[Path], typer.Option("--manifest", help="of face crops; once for each")],
    split: Annotated[str, typer.Option()] = "val",
    mirrored: Annotated[bool, typer.Option("--mirrored", help="take each a second time, shown faces mirrored")] = False,
) -> None:
    """Tell what every combination of several runs would be worth, and whether their disagreement tells errors."""
    print(combinations.compare(runs, manifests, split=split, mirrored=mirrored).markdown())


@app.command()
def seeds(config: ConfigFile, numbers: Annotated[list[int], typer.Option("--seed")], results: Results) -> None:
    """Train one configuration from several seeds and note the figures of each."""
    print(json.dumps(experiments.seeds(_config(config), numbers, results), indent=2))


@app.command()
def leave_one_out(
    config: ConfigFile,
    origins: Annotated[list[str], typer.Option("--origin", help="dataset-method, as in ffpp-faceswap")],
    results: Results,
) -> None:
    """Train without one manipulation and test on it, one after the other."""
    print(json.dumps(experiments.leave_one_out(_config(config), origins, results), indent=2))


@app.command()
def held_out(config: ConfigFile, results: Results) -> None:
    """Note how well a finished run finds the manipulations that it was trained without."""
    print(json.dumps(experiments.held_out(_config(config), results), indent=2))


@app.command()
def ablation(
    config: ConfigFile,
    ingredient: Annotated[str, typer.Option(help="what this variant leaves out or does otherwise")],
    results: Results,
    kept: Annotated[bool, typer.Option(help="whether the shipped network does it so")] = False,
    note: Annotated[str, typer.Option(help="what to say about it")] = "",
    output: Output = None,
) -> None:
    """Train one variant and note its figures; what lies in its folder already, be it an ensemble, is only measured."""
    row = experiments.run(_config(config, output=output), results, ingredient=ingredient, kept=kept, note=note)
    print(json.dumps(row, indent=2))


@app.command()
def release(
    run: Run,
    name: Annotated[str, typer.Option(help="of the model in the registry")],
    version: Annotated[str, typer.Option()],
    weights_dir: Annotated[Path, typer.Option()] = WEIGHTS,
) -> None:
    """Export, calibrate, measure and register a trained network; it becomes the default model."""
    print(releasing.release(run, name, version, weights_dir))


@app.command()
def evaluate(
    manifests: Annotated[list[Path], typer.Option("--manifest", help="of face crops; once for each")],
    output: Annotated[Path, typer.Option(help="folder for report.json, report.csv, scores.csv and the plots")],
    model: Annotated[str | None, typer.Option(help="registered name; the default model when left out")] = None,
    version: Annotated[str | None, typer.Option(help="of an installed model")] = None,
    folder: Annotated[Path | None, typer.Option(help="with model.toml: that model, wherever it lies")] = None,
    weights_dir: Annotated[Path, typer.Option()] = WEIGHTS,
    models_dir: Annotated[Path | None, typer.Option(help="where imported models are installed")] = None,
    clips: Annotated[Path | None, typer.Option(help="manifest of whole videos")] = None,
    baselines: Annotated[Path | None, typer.Option(help="folder with MesoNet's published weights")] = None,
    split: Annotated[str, typer.Option()] = "val",
    robustness_faces: Annotated[int, typer.Option(help="of the full grids; 0 leaves the grids out")] = 400,
    quick: Annotated[bool, typer.Option("--quick", help="ranking and verdicts alone, as a promotion needs")] = False,
    run: Annotated[Path | None, typer.Option(help="folder of the exported run, to compare its scores")] = None,
) -> None:
    """Measure a model as it is served: ranking, calibration, operating point, robustness, beside MesoNet."""
    plan = evaluation.Plan(
        manifests=tuple(manifests),
        output=output,
        clips=clips,
        baselines=baselines,
        model=model,
        version=version,
        folder=folder,
        weights_dir=weights_dir,
        models_dir=models_dir,
        split=split,
        robustness_faces=robustness_faces,
        quick=quick,
    )
    network = None if run is None else trained.Network(trained.load(run))
    print(tables.markdown(evaluation.run(plan, network=network)))


@app.command()
def describe(run: Run, results: Results) -> None:
    """Note what a network is made of, for the model card."""
    results.write_text(json.dumps(experiments.describe(run), indent=2, default=str), encoding="utf-8")


@app.command()
def shortcuts(config: ConfigFile, results: Results) -> None:
    """Measure whether the classes can be told apart without looking at a face, and note it for the model card."""
    settings = _config(config)
    found = surface.rows(training.training_samples(settings), settings.recipe)
    results.write_text(json.dumps({"rows": found}, indent=2), encoding="utf-8")


@app.command()
def card(
    report: Annotated[Path, typer.Option(help="report.json that evaluate wrote")],
    results: Annotated[Path | None, typer.Option(help="folder with the experiments' JSON files")] = None,
    calibration: Annotated[Path | None, typer.Option(help="report.json of the split calibration")] = None,
    weights_dir: Annotated[Path, typer.Option()] = WEIGHTS,
) -> None:
    """Write the model card and its facts beside the registry."""
    for path in model_card.write(report, results, calibration=calibration, weights_dir=weights_dir):
        print(path)


if __name__ == "__main__":
    app()
