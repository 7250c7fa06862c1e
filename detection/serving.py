"""Which model judges and which one is on trial: what the settings pin, else what people chose, else the default.

Folders and rows are read anew each time (a millisecond), so that what is imported or activated needs no restart.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from django.conf import settings

from detection.engine.errors import ModelError
from detection.engine.registry import (
    MANIFEST,
    WEIGHTS,
    ModelSpec,
    locate_model,
    read_installed,
    read_manifest,
    read_registry,
)
from detection.engine.types import ModelInfo
from detection.models import Analysis, RegisteredModel, Upload

logger = logging.getLogger(__name__)

State = RegisteredModel.State


def weights_folder() -> Path:
    return Path(settings.ANALYSIS_WEIGHTS_DIR or WEIGHTS)


def models_folder() -> Path:
    return Path(settings.MODELS_DIR)


def models() -> list[ModelSpec]:
    """All that there are: shipped ones, then installed ones. Raises ModelError for an entry that is malformed."""
    return _with_shipped(read_installed(models_folder()))


def readable_models() -> list[ModelSpec]:
    """The same for who only looks a model up: a folder that somebody broke by hand takes no page down with it."""
    installed = []
    for manifest in sorted(models_folder().glob(f"[!.]*/{MANIFEST}")):
        try:
            installed.append(read_manifest(manifest.parent))
        except ModelError as error:
            logger.error("an installed model is left out: %s", error)
    return _with_shipped(installed)


def _with_shipped(installed: list[ModelSpec]) -> list[ModelSpec]:
    """A shipped model goes before an installed one of the same name and version."""
    shipped = _shipped()
    labels = {spec.label for spec in shipped}
    return [*shipped, *(spec for spec in installed if spec.label not in labels)]


def _shipped() -> list[ModelSpec]:
    return list(read_registry(weights_folder())[1].values())


def pinned() -> str:
    """What ``VERIFRAME_MODEL`` names; empty if people choose in the admin."""
    return str(settings.ANALYSIS_MODEL)


def served() -> ModelSpec:
    """The model that new analyses are judged by; one query, none if the settings name it.

    Its file is not hashed here, which takes as long as reading it: whoever loads it does that.

    Raises:
        ModelError: it is not there any more, or another file has its name and version.
    """
    if pinned():
        return locate_model(pinned(), folder=weights_folder(), installed=models_folder())
    row = RegisteredModel.objects.filter(state=State.ACTIVE).first()
    return default() if row is None else spec_of(row)


def served_if_any() -> ModelSpec | None:
    """The same for who only tells of it; the log says why there is none."""
    try:
        return served()
    except ModelError as error:
        logger.error("no model can judge: %s", error)
        return None


def default() -> ModelSpec:
    """The shipped model that judges where nobody chose. Raises ModelError."""
    return locate_model(folder=weights_folder())


def spec_of(row: RegisteredModel) -> ModelSpec:
    """What a row is about; another model's folder, which may be broken, is not looked at. Raises ModelError."""
    named = (row.name, row.version)
    spec = next((spec for spec in _shipped() if (spec.name, spec.version) == named), None)
    spec = spec or read_manifest(models_folder() / f"{row.name}-v{row.version}")
    if (spec.name, spec.version) != named or spec.sha256 != row.sha256:
        raise ModelError(f"Model {spec.label} is not the file that was registered: its SHA-256 differs.")
    return spec


def columns(spec: ModelSpec | ModelInfo) -> dict[str, str]:
    """How an analysis names the model that judged it. All three: the same file may come back with other thresholds."""
    return {"model_name": spec.name, "model_version": spec.version, "model_sha256": spec.sha256}


def columns_of(analysis: Analysis) -> dict[str, str]:
    """The same as a stored analysis has it."""
    return {name: getattr(analysis, name) for name in ("model_name", "model_version", "model_sha256")}


def challenger() -> RegisteredModel | None:
    """The model on trial, if there is one. One query."""
    return RegisteredModel.objects.filter(state=State.CHALLENGER).first()


def is_drawn(challenger: RegisteredModel, upload: Upload) -> bool:
    """Whether an upload is in a challenger's share.

    The content decides: the same file is always among them or never, whoever sends it and however often.
    """
    drawn = hashlib.sha256(f"{challenger.sha256} {upload.sha256}".encode()).digest()
    return int.from_bytes(drawn[:8]) % 100 < (challenger.share or 0)
