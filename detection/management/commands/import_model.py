"""``manage.py import_model``: a model that was made elsewhere becomes one that can judge here.

What opens it is a process of its own (:mod:`detection.training.importing`), because this one has no TensorFlow and
what breaks there ends there; trying it out is another. Neither is a cage: a SavedModel is a program, which runs there
and in every worker, and the list of steps that are refused in it cannot make one safe that nobody trusts. Only pickles
are opened in a cage, and leave it as data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection import processes, registered_models, services
from detection.engine.adapters import Colour, Output, Positive, Scale
from detection.engine.errors import ErrorCode, ModelError
from detection.engine.registry import MANIFEST, ModelSpec, check_label, install, read_registry
from detection.engine.runtimes import RuntimeName
from detection.serving import weights_folder

SAID = ("input_size", "colour", "scale", "output", "positive_class", "index", "threshold", "suspicious", "crop_margin")


class Command(BaseCommand):
    help = (
        "Import a SavedModel, .keras, .h5, .tflite or .pkl, or the folder that `detection.training export` wrote. "
        "A SavedModel is a program: it runs at import and in every worker. Import only what you trust."
    )

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        # Every command has a --version, Django's own; here it is the model's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("path", type=Path, help="file or folder of the model")
        add("--name", help="small letters, digits, '.', '_' and '-'; a folder with model.toml has its own")
        add("--version", dest="model_version", help="like 1 or 2.1; the same")
        add("--family", help="whose weights these are, for weights alone: meso4, efficientnetb0, ...")
        add("--input-size", type=int, help="side of its pictures in pixels")
        add("--colour", choices=get_args(Colour), help="order of its colours")
        add("--scale", choices=get_args(Scale), help="range of its pixels")
        add("--output", choices=get_args(Output), help="what it gives")
        add("--positive-class", choices=get_args(Positive), help="what a high value argues for")
        add("--index", type=int, help="which of several values stands for that class, from 0")
        add("--threshold", type=float, help="probability of that class where fake and real part: its own rule")
        add("--suspicious", type=float, help="the same for a result that is only suspicious; --threshold if left out")
        add("--crop-margin", type=float, help="side of a face's crop, in units of eyes to mouth (2.76)")
        add("--licence", help="under which it may be used")
        add("--runtime", choices=get_args(RuntimeName), default="auto", help="for what it is kept (auto: all it fits)")
        add("--i-trust-this-pickle", action="store_true", help="a pickle is executed code; run it once, confined")
        add("--sample", type=Path, nargs="+", default=[], help="pictures, videos or folders of them to try it on")
        add("--yes", action="store_true", help="install without asking")

    def handle(self, *, path: Path, sample: Sequence[Path], yes: bool, **options: Any) -> None:
        samples = _files(sample or [services.SAMPLE_PICTURES])
        try:
            with tempfile.TemporaryDirectory() as folder:
                made = path if (path / MANIFEST).is_file() else _convert(path.resolve(), Path(folder), samples, options)
                spec = install(made, Path(folder, "models"))
                _refuse_shipped(spec)
                if made is path:
                    _refuse_programs(spec)
                self._tell(spec)
                self._try_out(spec, samples)
                if not yes and not self._agreed():
                    raise CommandError("Nothing was installed.")
                spec = install(spec.path.parent, Path(settings.MODELS_DIR))
        except ModelError as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(f"It cannot be copied: {error}") from error
        row = registered_models.register(spec)
        self.stdout.write(f"Installed as {spec.label}: {row.get_state_display()}.")
        self.stdout.write("`manage.py promote_model` compares it with the model that judges now and activates it.")

    def _tell(self, spec: ModelSpec) -> None:
        self.stdout.write(f"{spec.label}  {spec.path.name}  SHA-256 {spec.sha256}")
        point = spec.video
        self.stdout.write(f"  {spec.input_size} pixels; {'measured' if spec.metrics else 'not measured here'}")
        self.stdout.write(f"  suspicious from {point.suspicious:g}, manipulated from {point.manipulated:g} on")

    def _try_out(self, spec: ModelSpec, samples: Sequence[Path]) -> None:
        """Show what it says about files, on the very way that an upload goes."""
        command = [sys.executable, "-m", "detection.engine", "--json", "--model", spec.label]
        command += ["--models-dir", str(spec.path.parent.parent), *map(str, samples)]
        for said in _outcomes(processes.run(command, capture_output=True, text=True), len(samples)):
            name = Path(said["file"]).name
            if "error" in said:
                self.stdout.write(f"  {name}: {said['error']['message']}")
            elif said["score"] is None:
                self.stdout.write(f"  {name}: {said['verdict']} ({said['reasons'][0]['code']})")
            else:
                self.stdout.write(
                    f"  {name}: {said['verdict']}, P(fake) {said['score']:.3f}, P(real) {1 - said['score']:.3f}"
                )

    def _agreed(self) -> bool:
        if not sys.stdin.isatty():
            raise CommandError("There is no terminal to ask on; say --yes to install it.")
        return input("Install it? [y/N] ").strip().lower() in ("y", "yes")


def _convert(path: Path, folder: Path, samples: Sequence[Path], options: dict[str, Any]) -> Path:
    """Have it made into a folder that the engine serves; what is said and asked meanwhile goes to the terminal."""
    name, version = options["name"], options["model_version"]
    try:
        check_label(name or "", version or "")
    except ValueError as error:
        raise CommandError(f"Say --name and --version: {error}.") from error
    said = {key: options[key] for key in (*SAID, "family", "licence", "runtime", "i_trust_this_pickle")}
    wanted = json.dumps({"name": name, "version": version, **said})
    command = [sys.executable, "-m", "detection.training.importing", str(path), str(folder), wanted]
    done = processes.run([*command, *map(str, samples)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise CommandError(processes.last_words(done))
    return folder / f"{name}-v{version}"


def _outcomes(done: subprocess.CompletedProcess[str], files: int) -> list[dict[str, Any]]:
    """What was said of every file. Raises CommandError if it is the model that failed, and not a file."""
    said = "\n".join(done.stderr.strip().splitlines()[-20:])
    if done.returncode not in (0, 1):  # 1: one of the files is no picture
        raise CommandError(f"Trying it out ended with exit code {done.returncode}. {said}".strip())
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    errors = {outcome["error"]["code"]: outcome["error"]["message"] for outcome in outcomes if "error" in outcome}
    if ErrorCode.MODEL_UNAVAILABLE in errors:
        raise CommandError(errors[ErrorCode.MODEL_UNAVAILABLE])
    if ErrorCode.INTERNAL_ERROR in errors or len(outcomes) < files:
        raise CommandError(f"Trying it out failed.\n{said}")
    return outcomes


def _refuse_programs(spec: ModelSpec) -> None:
    """What training exports is none, and one that somebody wrote a ``model.toml`` for was looked at by nobody."""
    if spec.tensorflow is not None and spec.tensorflow.path.is_dir():
        raise CommandError(f"This folder holds a SavedModel: import {spec.tensorflow.path.name} itself.")


def _refuse_shipped(spec: ModelSpec) -> None:
    _, shipped = read_registry(weights_folder())
    if spec.label in (other.label for other in shipped.values()):
        raise CommandError(f"{spec.label} is a model that is shipped; choose another name or version.")


def _files(samples: Sequence[Path]) -> list[Path]:
    found = [f for path in samples for f in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return [f.resolve() for f in found if f.is_file() and f.suffix != ".md"]
