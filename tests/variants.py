"""Models to choose from: the shipped network, installed under other names and with other thresholds."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from detection.engine.registry import MANIFEST, REGISTRY, WEIGHTS, ModelSpec, find_model, read_manifest


def install(models_dir: Path, name: str = "variant", version: str = "1", **changes: Any) -> ModelSpec:
    """A folder as ``manage.py import_model`` leaves it.

    Args:
        changes: entries of ``model.toml`` that differ from the shipped model's; tables are merged.
    """
    shipped = find_model()
    document = tomllib.loads((WEIGHTS / REGISTRY).read_text(encoding="utf-8"))
    entry = {**document["models"][shipped.name], "name": name, "version": version}
    for key, value in changes.items():
        entry[key] = {**entry.get(key, {}), **value} if isinstance(value, dict) and value else value
    folder = models_dir / f"{name}-v{version}"
    folder.mkdir(parents=True)
    shutil.copyfile(shipped.path, folder / shipped.path.name)
    (folder / MANIFEST).write_text(tomli_w.dumps(entry), encoding="utf-8")
    return read_manifest(folder)


def alarmist(models_dir: Path, **more: Any) -> ModelSpec:
    """One that calls nearly everything manipulated."""
    points = {"suspicious": 0.0001, "manipulated": 0.0002}
    return install(models_dir, **{"name": "alarmist", "image": points, "video": points, **more})


def figures(model: str, **changes: Any) -> dict[str, Any]:
    """Of one model, as a comparison has them."""
    values = {"mean_auc": 0.9, "false_alarms": 3, "genuine": 100, "detected": 40, "manipulated": 80}
    return {"model": model, "sha256": "0" * 64, **values, **changes}
