"""The model card: ``MODEL_CARD.md`` for the repository, ``model_card.json`` with the same facts for the product's page.

Every number comes from the registry, from an evaluation's ``report.json`` or from the result files of training runs;
what is written here is prose. After Mitchell et al., "Model Cards for Model Reporting", arXiv 1810.03993.

Result files, each optional, in one folder; ``auc`` is ``{"value", "low", "high"}``, ``figures`` maps names to numbers:

* ``training.json``: ``{"parameters": 2300000, "recipe": {"steps": 3000, ...}, "faces": {"ffpp-real": 900, ...}}``
* ``leave_one_out.json``: ``{"rows": [{"left_out": "ffpp-faceswap", "real": 10, "fake": 10, "auc": {...}}]}``
* ``seeds.json``: ``{"rows": [{"seed": 1, "figures": {...}}]}``
* ``ablation.json``: ``{"rows": [{"ingredient": "...", "kept": true, "figures": {...}, "note": "..."}]}``
* ``shortcuts.json``: ``{"rows": [{"sees_only": "file size", "auc": {...}}]}``
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detection.engine.registry import WEIGHTS, ModelSpec, find_model
from detection.training import tables

CARD, FACTS, PLOTS = "MODEL_CARD.md", "model_card.json", "plots"
RESULTS = ("training", "leave_one_out", "seeds", "ablation", "shortcuts")
Facts = dict[str, Any]

WEAK, POOR, BLIND = 0.9, 0.75, 0.5  # AUC below which a manipulation is seen in part, hardly and not at all
COSTLY = 0.08  # loss of AUC from which a degradation is named

INTENDED = (
    "To help a person look closer: a ranked hint, with the place and the time of what the network reacted to.",
    "Videos and photos in which faces are at least as large as the quality limits ask; one face at a time.",
)
NOT_FOR = (
    "No proof, and no automatic decision about a person. A verdict needs somebody who looks at the file.",
    "“No signs found” does not say that a file is genuine: it may use a manipulation that the detector misses.",
    "Voices, bodies, backgrounds, captions and whole scenes without a face are not examined.",
)
UNMEASURED = (
    "Other collections than those listed here. Detectors of this kind usually lose 0.1 to 0.3 of AUC on material "
    "from sources that they were not trained on.",
    "Groups of people: neither skin tone nor gender nor age is labelled in the data, so differences between groups "
    "are unknown. Published detectors that learn from blended faces show such differences.",
    "Attacks on the detector: somebody who knows it can alter a file until it passes.",
)
COMMANDS = (
    "make train-tools",
    "python -m detection.training evaluate --manifest MANIFEST.csv --clips CLIPS.csv --baselines MESONET_FOLDER "
    "--output runs/report",
    "python -m detection.training evaluate --manifest MANIFEST.csv --split calibration --quick "
    "--output runs/report-calibration",
    "python -m detection.training card --report runs/report/report.json --results runs/results "
    "--calibration runs/report-calibration/report.json",
)


def write(
    report: Path, results: Path | None = None, *, calibration: Path | None = None, weights_dir: Path = WEIGHTS
) -> tuple[Path, Path]:
    """Write card and facts beside the registry, and the report's plots into ``plots``; returns the first two paths.

    Args:
        report: ``report.json`` of an evaluation.
        results: folder with the result files of training runs.
        calibration: ``report.json`` of the people kept for calibration, for manipulations that no other people show.
        weights_dir: folder of the registry.

    Raises:
        ValueError: a report is about another file than the registry's entry.
        ModelError: the model is not registered, or its file was changed.
    """
    other = None if calibration is None else json.loads(calibration.read_text(encoding="utf-8"))
    facts = collect(json.loads(report.read_text(encoding="utf-8")), results, weights_dir, calibration=other)
    card, plain = weights_dir / CARD, weights_dir / FACTS
    plain.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    card.write_text(render(facts), encoding="utf-8")
    (weights_dir / PLOTS).mkdir(exist_ok=True)
    for plot in sorted(report.parent.glob("*.svg")):
        shutil.copyfile(plot, weights_dir / PLOTS / plot.name)
    return card, plain


def collect(
    report: Facts, results: Path | None, weights_dir: Path = WEIGHTS, *, calibration: Facts | None = None
) -> Facts:
    """All facts of the card as plain data, in the order in which the card tells them."""
    spec = find_model(report["model"]["name"], folder=weights_dir)
    for one in (report, calibration or report):
        if spec.sha256 != one["model"]["sha256"]:
            raise ValueError(f"the report is about {one['model']['sha256'][:12]}, the registry has {spec.sha256[:12]}")
    elsewhere = only_there(calibration, report) if calibration else []
    files = {name: _result(results, name) for name in RESULTS}
    videos, images = report["videos"], report["images"]
    return {
        "model": {**report["model"], "licence": spec.licence, "quality": _quality(spec)},
        "intended_use": list(INTENDED),
        "not_for": list(NOT_FOR),
        "data": {"training": list(spec.data), "evaluation": report["data"]},
        **files,
        "figures": {
            "mean_auc": videos["overall"]["mean_auc"],
            "videos": [_short(row) for row in videos["by_manipulation"]],
            "images": [_short(row) for row in images["by_manipulation"]],
            "ece": videos["overall"].get("ece"),
            "brier": videos["overall"].get("brier"),
            "alike": report["alike"],
            "calibration_only": elsewhere,
        },
        "operating_point": {
            "kinds": videos["overall"]["kinds"],
            "reals": videos["overall"]["reals"],
            "coverage": videos["overall"]["coverage"],
            "by_source": videos["by_source"],
        },
        "clips": _clips(report),
        "compared": report["compared"],
        "robustness": {
            "bars": [_cell(row) for row in report["robustness"]["bars"]],
            "summary": report["robustness"].get("summary"),
            "faces": report["robustness"].get("faces"),
            "cells": [_cell(row) for row in report["robustness"].get("cells", [])],
        },
        "slices": images["slices"],
        "agreement": report["agreement"],
        "bars": report["bars"],
        "blind_spots": [*blind_spots(report), *_weak(elsewhere, " (people kept for calibration)")],
        "not_measured": list(UNMEASURED),
        "reproduce": list(COMMANDS),
    }


def _result(folder: Path | None, name: str) -> Facts | None:
    path = folder / f"{name}.json" if folder else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else None


def _quality(spec: ModelSpec) -> Facts:
    return {name: getattr(spec.quality, name) for name in spec.quality.__slots__}


def _short(row: Facts) -> Facts:
    counts = ("name", "real", "fake", "people", "prevalence", "coverage", "detected", "detected_rate")
    kept = (*counts, "auc", "ap", "eer", "tpr_at_1", "tpr_at_5", "balanced_accuracy", "brier", "log_loss", "ece")
    return {key: row[key] for key in kept if key in row}


def _cell(row: Facts) -> Facts:
    kept = ("suite", "kind", "level", "auc", "loss", "reals", "alarms", "alarms_drift", "coverage")
    return {key: row[key] for key in kept}


def _clips(report: Facts) -> Facts | None:
    if "clips" not in report:
        return None
    part = report["clips"]
    kept = ("real", "fake", "false_alarms", "false_alarms_at_most", "detected", "inconclusive", "auc")
    return {
        "overall": {key: part["overall"][key] for key in kept if key in part["overall"]},
        "by_source": part["by_source"],
        "robustness": [_cell(row) for row in part["robustness"]],
    }


def only_there(calibration: Facts, report: Facts) -> list[Facts]:
    """Rows of the manipulations that the people kept for calibration show, and those of the report do not."""
    known = {row["name"] for row in report["videos"]["by_manipulation"]}
    return [_short(row) for row in calibration["videos"]["by_manipulation"] if row["name"] not in known]


def _weak(rows: Sequence[Facts], where: str = "") -> list[str]:
    spots = []
    for row in rows:
        area = row["auc"]["value"]
        if area is not None and area < WEAK:
            word = "not seen" if area < BLIND else "hardly seen" if area < POOR else "seen only in part"
            figure = f"{area:.3f}, of one person" if row.get("people") == 1 else tables.interval(row["auc"])
            spots.append(f"{row['name']}{where} is {word}: AUC {figure}.")
    return spots


def blind_spots(report: Facts) -> list[str]:
    """What the figures say about what the detector cannot see, in words."""
    spots = _weak(report["videos"]["by_manipulation"])
    for row in report["videos"]["by_source"]:
        rate = row.get("detected_rate", {}).get("value")
        if rate is not None and rate < 0.5:
            spots.append(
                f"At the threshold for “manipulated” most of {row['name']} passes: "
                f"{row['detected']} of {row['files']} files are found."
            )
    cells = report["robustness"]["bars"][1:] + report["robustness"].get("cells", [])[1:]
    costly: dict[str, list[float]] = {}
    for row in cells:
        if (row["loss"]["value"] or 0.0) > COSTLY:
            costly.setdefault(row["kind"], []).append(row["loss"]["value"])
    for kind, losses in sorted(costly.items(), key=lambda item: -max(item[1])):
        spots.append(f"{kind} costs up to {max(losses):.2f} of AUC.")
    return spots


# --- rendering --------------------------------------------------------------------------------------


def render(facts: Facts) -> str:
    """The card as Markdown."""
    sections = [
        ("", _head(facts)),
        ("What it is for", _list(facts["intended_use"])),
        ("What it is not for", _list(facts["not_for"])),
        ("What it was trained on", _list(facts["data"]["training"]) + _training(facts["training"])),
        ("What it was measured on", _evaluation(facts["data"]["evaluation"])),
        ("What a release must show", tables.bars(facts)),
        ("How well it ranks", _ranking(facts["figures"])),
        ("What it says at its thresholds", _operating(facts)),
        ("Whole clips, as served", _clip_text(facts["clips"])),
        ("Beside MesoNet", _compared(facts["compared"])),
        ("One manipulation left out of training", _left_out(facts["leave_one_out"])),
        ("What is left after degradation", _robust(facts["robustness"])),
        ("Slices", tables.slices({"images": {"slices": facts["slices"]}})),
        ("Other seeds", _figures(facts["seeds"], "seed")),
        ("What each ingredient brought", _figures(facts["ablation"], "ingredient")),
        ("What shortcuts can tell", _shortcuts(facts["shortcuts"])),
        ("Known blind spots", _list(facts["blind_spots"])),
        ("Not measured", _list(facts["not_measured"])),
        ("How to reproduce", "```\n" + "\n".join(facts["reproduce"]) + "\n```"),
    ]
    parts = [f"## {title}\n\n{text}" if title else text for title, text in sections if text]
    return "\n\n".join(parts) + "\n"


def _head(facts: Facts) -> str:
    model = facts["model"]
    size = facts["training"]["parameters"] if facts["training"] else None
    return (
        f"# Model card: {model['name']} {model['version']}\n\n"
        "Written by `detection.training.model_card` from measurements; not edited by hand. Figures carry 95 % "
        "intervals: bootstrap over people, exact for shares. An interval that ends at 1.000 on a handful of files "
        "only says that none of them was confused.\n\n"
        + tables.grid(
            ("", ""),
            (
                ("file", f"`{model['file']}`, {model['bytes']:,} bytes"),
                ("SHA-256", f"`{model['sha256']}`"),
                ("architecture", f"{model['architecture']}, {model['input_size']} px" + _parameters(size)),
                ("output", "a map of evidence whose mean is the logit; Platt scaling makes it a score"),
                ("licence", model["licence"]),
            ),
        )
    )


def _parameters(size: int | None) -> str:
    return f", {size:,} parameters" if size else ""


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _training(training: Facts | None) -> str:
    if not training:
        return ""
    text = ""
    if training.get("faces"):
        text += "\n\n" + tables.grid(("source", "faces for training"), training["faces"].items())
    if training.get("recipe"):
        text += "\n\n" + tables.grid(("setting", "value"), training["recipe"].items())
    return text


def _evaluation(data: Facts) -> str:
    rows = ((name, row["faces"], row["videos"], row["people"]) for name, row in data["origins"].items())
    return (
        f"Split `{data['split']}`, never trained or calibrated on; disjoint from training by person and source.\n\n"
        + tables.grid(("source", "faces", "videos or stills", "people or sources"), rows)
    )


def _ranking(figures: Facts) -> str:
    head = ("manipulation", "real", "fake", "AUC", "EER", "TPR at 1 % FPR", "at 5 %", "AUC face by face")
    single = {row["name"]: row["auc"] for row in figures["images"]}
    keys = ("auc", "eer", "tpr_at_1", "tpr_at_5")
    rows = (
        (r["name"], r["real"], r["fake"], *(tables.interval(r[k]) for k in keys), tables.interval(single[r["name"]]))
        for r in figures["videos"]
    )
    return (
        "Files of a video are judged together; each manipulation against genuine files of its own source.\n\n"
        + tables.grid(head, rows)
        + f"\n\nMean AUC over the manipulations: {tables.interval(figures['mean_auc'])}. Calibration over all files: "
        f"ECE {tables.interval(figures['ece'])}, Brier {tables.interval(figures['brier'])}.\n\n"
        "After both classes went through the same last save, and through the same size, face by face:\n\n"
        + tables.alike({"images": {"by_manipulation": figures["images"]}, "alike": figures["alike"]})
        + _elsewhere(figures.get("calibration_only"))
    )


def _elsewhere(rows: Sequence[Facts] | None) -> str:
    if not rows:
        return ""
    table = tables.grid(
        ("manipulation", "real", "fake", "people", "AUC", "found"),
        ((r["name"], r["real"], r["fake"], r["people"], tables.interval(r["auc"]), r["detected"]) for r in rows),
    )
    return (
        "\n\nShown only by people who were kept for calibration, on whom thresholds were chosen. Where the genuine "
        "files are of poorer quality than the manipulated ones, a network that sees nothing ranks them the wrong way "
        f"round:\n\n{table}"
    )


def _operating(facts: Facts) -> str:
    point = facts["operating_point"]
    lines = []
    for kind, counted in point["kinds"].items():
        thresholds = facts["model"][kind]
        name = {"video": "videos", "image": "photos"}[kind]
        lines.append(
            f"{name.capitalize()}: manipulated from {thresholds['manipulated']:g}, suspicious from "
            f"{thresholds['suspicious']:g}. {counted['false_alarms']} of {point['reals'][kind]} genuine {name} alarm "
            f"(at most {100 * counted['false_alarms_at_most']:.1f} % with 95 % confidence, for material like this)."
        )
    return (
        _list(lines)
        + f"\n\nCoverage, the share of files that get a verdict: {point['coverage']:.3f}. A bound is promised for "
        "false alarms only; what is missed depends on manipulations that do not exist yet.\n\n"
        + tables.sources(point["by_source"])
    )


def _clip_text(clips: Facts | None) -> str:
    if clips is None:
        return ""
    whole = clips["overall"]
    text = (
        f"{whole['false_alarms']} of {whole['real']} genuine clips alarm (at most "
        f"{100 * whole['false_alarms_at_most']:.1f} % with 95 % confidence); {whole['inconclusive']} inconclusive.\n\n"
        + tables.sources(clips["by_source"])
    )
    return text + ("\n\n" + tables.robustness(clips["robustness"]) if clips["robustness"] else "")


def _compared(compared: Facts) -> str:
    parts = [
        f"AUC on the same {what}, in the same run.\n\n" + tables.compared(rows)
        for what, rows in compared.items()
        if rows and len(rows[0]["auc"]) > 1
    ]
    return "\n\n".join(parts)


def _left_out(result: Facts | None) -> str:
    if not result:
        return ""
    rows = result["rows"]
    several = [row for row in rows if "left out" in row["left_out"]]  # as `held-out` names them
    means = [
        f"{what} {np.mean([row['auc']['value'] for row in group]):.3f}"
        for what, group in (("one at a time", [row for row in rows if row not in several]), ("all at once", several))
        if group
    ]
    return (
        "None of these runs is the network that is served: that one has seen them all.\n\n"
        + tables.grid(
            ("left out and tested on", "real", "fake", "AUC"),
            ((row["left_out"], row["real"], row["fake"], tables.interval(row["auc"])) for row in rows),
        )
        + f"\n\nMean: {', '.join(means)}."
    )


def _robust(part: Facts) -> str:
    text = tables.robustness(part["bars"])
    if part["summary"]:
        text += "\n\n" + tables.summary(part) + "\n\n" + tables.robustness(part["cells"])
    return text


def _figures(result: Facts | None, first: str) -> str:
    """A table of runs: what was changed, its figures, and whether it stayed."""
    if not result:
        return ""
    rows = result["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row["figures"]))
    extra = [key for key in ("kept", "note") if any(key in row for row in rows)]

    def cell(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:.3f}" if isinstance(value, float) else "–" if value is None else str(value)

    return tables.grid(
        (first, *names, *extra),
        (
            (row[first], *(cell(row["figures"].get(name)) for name in names), *(cell(row.get(key)) for key in extra))
            for row in rows
        ),
    )


def _shortcuts(result: Facts | None) -> str:
    if not result:
        return ""
    return "AUC of classifiers that see nothing of the face; 0.5 means that the shortcut is closed.\n\n" + tables.grid(
        ("sees only", "AUC"), ((row["sees_only"], tables.interval(row["auc"])) for row in result["rows"])
    )
