"""``manage.py promote_model``: have another model judge, if it is no worse than the one that does."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection import promotion, registered_models, serving
from detection.engine.errors import ModelError
from detection.engine.registry import locate_model
from detection.problems import Refused
from detection.promotion import Figures


class Command(BaseCommand):
    help = (
        "Measure a model beside the one that judges and activate it, unless it is worse: mean AUC lower by more than "
        f"{promotion.TOLERANCE}, or at its own thresholds more false alarms, or more than {promotion.MISSED:.0%} of "
        "the manipulated files less found."
    )

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        # Every command has a --version, Django's own; here it is the model's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="of the model, or its label (name-v2)")
        parser.add_argument("--version", dest="model_version", help="needed if there are several")
        parser.add_argument("--manifest", type=Path, action="append", required=True, help="of faces; once for each")
        parser.add_argument("--split", default="val", help="which rows of the manifests count (val); train is no pass")
        parser.add_argument("--force", action="store_true", help="activate it even if it is worse")
        parser.add_argument("--reason", default="", help="why it is forced; kept with the model")

    def handle(self, *, name: str, model_version: str | None, manifest: list[Path], **options: Any) -> None:
        missing = [str(file) for file in manifest if not file.is_file()]
        if missing:
            raise CommandError(f"There is no manifest {', '.join(missing)}.")
        try:
            folders = {"folder": serving.weights_folder(), "installed": serving.models_folder()}
            spec = locate_model(name, model_version, **folders)
            if spec == serving.served():
                raise CommandError(f"{spec.label} judges already.")
            row = registered_models.register(spec)
            comparison = promotion.compare(spec, manifest, split=options["split"])
            self._show(comparison.champion, comparison.candidate)
            judges = promotion.conclude(row, comparison, force=options["force"], reason=options["reason"], by=None)
        except ModelError as error:
            raise CommandError(error.message) from error
        except promotion.NotMeasured as error:
            raise CommandError(str(error)) from error
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        if not judges:
            raise CommandError(f"{spec.label} is not activated: {' and '.join(comparison.objections)}. See --force.")
        self.stdout.write(f"{spec.label} is active: new analyses are judged by it from now on.")
        if serving.pinned():
            self.stdout.write(f"But VERIFRAME_MODEL={serving.pinned()} goes first, until it is emptied.")

    def _show(self, champion: Figures, candidate: Figures) -> None:
        self.stdout.write(f"{'':28} {'mean AUC':>9} {'false alarms':>16} {'detected':>16}")
        for role, figures in (("judges", champion), ("candidate", candidate)):
            alarms = f"{figures.false_alarms} of {figures.genuine}"
            detected = f"{figures.detected} of {figures.manipulated}"
            self.stdout.write(f"{role:10} {figures.model:17} {figures.mean_auc:9.3f} {alarms:>16} {detected:>16}")
