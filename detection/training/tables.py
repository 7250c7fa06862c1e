"""A report as Markdown for people and as a list of figures for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Report = dict[str, Any]


def markdown(report: Report) -> str:
    """All that was measured, for the console and ``report.md``."""
    model = report["model"]
    parts = [
        f"# {model['name']} {model['version']}\n\n`{model['sha256']}`, {model['bytes']:,} bytes, "
        f"{model['input_size']} px. 95 % intervals in brackets: {report['data']['bootstrap_draws']} bootstrap draws "
        "of people; exact (Clopper-Pearson) for shares.",
        "## Videos and stills, by manipulation\n\n" + manipulations(report["videos"]),
        "Mean AUC over the manipulations: " + interval(report["videos"]["overall"]["mean_auc"]),
        "## The same, face by face\n\n" + manipulations(report["images"]),
        "## Verdicts by source\n\n" + sources(report["videos"]["by_source"]),
        "## Beside MesoNet: AUC on the same files\n\n" + compared(report["compared"]["videos"]),
        "## Slices, face by face\n\n" + slices(report),
    ]
    if "bars" in report:
        parts.insert(1, "## What a release must show\n\n" + bars(report))
        parts.append("## After equal treatment of both classes, face by face\n\n" + alike(report))
        parts.append("## Robustness\n\n" + robustness(report["robustness"]["bars"]))
        if "cells" in report["robustness"]:
            parts.append(robustness(report["robustness"]["cells"]) + "\n\n" + summary(report["robustness"]))
    if "clips" in report:
        parts += ["## Whole clips, as served\n\n" + clips(report)]
    return "\n\n".join(parts) + "\n"


def grid(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def interval(figure: dict[str, float | None] | None, digits: int = 3) -> str:
    """``0.912 (0.870 to 0.950)``; a dash for what could not be computed."""
    if not figure or figure["value"] is None:
        return "–"
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.{digits}f}"
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def percent(figure: dict[str, float | None] | None) -> str:
    """``1.5 % (0.3 to 4.4)``."""
    if not figure or figure["value"] is None or figure["low"] is None or figure["high"] is None:
        return "–"
    return f"{100 * figure['value']:.1f} % ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def bars(report: Report) -> str:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.4g}"

    return grid(
        ("figure", "asked", "measured", "met"),
        (
            (
                row["name"],
                f"{'≥' if row['at_least'] else '≤'} {number(row['limit'])}",
                number(row["measured"]),
                "yes" if row["met"] else "**no**",
            )
            for row in report["bars"]
        ),
    )


def manipulations(level: Report) -> str:
    ranked = ("manipulation", "real", "fake", "people", "AUC", "AP", "EER", "TPR at 1 % FPR", "at 5 %")
    judged = ("balanced accuracy", "Brier", "log-loss", "ECE", "coverage")
    rows = [{"name": "all", **level["overall"]}, *level["by_manipulation"]]
    return grid(
        (*ranked, *judged),
        (
            (
                row["name"],
                row["real"],
                row["fake"],
                row["people"],
                *(interval(row.get(key)) for key in ("auc", "ap", "eer", "tpr_at_1", "tpr_at_5")),
                *(interval(row.get(key)) for key in ("balanced_accuracy", "brier", "log_loss", "ece")),
                f"{row['coverage']:.3f}",
            )
            for row in rows
        ),
    )


def sources(rows: Sequence[Report]) -> str:
    def cells(row: Report) -> tuple[object, ...]:
        alarms, hints = ("detected", "suspected") if row["label"] else ("false_alarms", "false_hints")
        return (
            row["name"],
            "manipulated" if row["label"] else "real",
            row["files"],
            f"{row[alarms]}: {percent(row[alarms + '_rate'])}",
            f"{row[hints]}: {percent(row[hints + '_rate'])}",
            row["inconclusive"],
            f"{row['median_score']:.3f}",
        )

    head = ("source", "class", "files", "manipulated", "suspicious or manipulated", "inconclusive", "median score")
    return grid(head, map(cells, rows))


def alike(report: Report) -> str:
    stored = {row["name"]: row["auc"] for row in report["images"]["by_manipulation"]}
    columns = report["alike"]
    names = [row["name"] for row in next(iter(columns.values()))]
    return grid(
        ("manipulation", "as stored", *columns),
        (
            (name, interval(stored[name]), *(interval(rows[i]["auc"]) for rows in columns.values()))
            for i, name in enumerate(names)
        ),
    )


def compared(rows: Sequence[Report]) -> str:
    names = list(rows[0]["auc"]) if rows else []
    return grid(
        ("manipulation", "real", "fake", *names),
        ((row["name"], row["real"], row["fake"], *(interval(row["auc"][name]) for name in names)) for row in rows),
    )


def slices(report: Report) -> str:
    def edge(row: Report) -> str:
        return f"{row['from']:g} and more" if row["to"] is None else f"{row['from']:g} to {row['to']:g}"

    return grid(
        ("slice", "range", "real", "fake", "AUC within sources", "false alarms", "detected", "coverage"),
        (
            (
                row["slice"],
                edge(row),
                row["real"],
                row["fake"],
                interval(row["paired_auc"]),
                percent(row["false_alarms_rate"]),
                percent(row["detected_rate"]),
                f"{row['coverage']:.3f}",
            )
            for row in report["images"]["slices"]
        ),
    )


def robustness(rows: Sequence[Report]) -> str:
    return grid(
        ("degradation", "level", "mean AUC", "loss", "false alarms", "drift", "coverage"),
        (
            (
                row["kind"],
                row["level"],
                interval(row["auc"]),
                interval(row["loss"]),
                f"{row['alarms']} of {row['reals']}",
                f"{100 * (row['alarms_drift'] or 0):+.1f} %",
                f"{row['coverage']:.3f}",
            )
            for row in rows
        ),
    )


def summary(part: Report) -> str:
    s = part["summary"]
    return (
        f"{s['cells']} cells on {part['faces']} faces: clean {s['clean_auc']:.3f}, mean {s['mean_auc']:.3f}, worst "
        f"{s['worst_auc']:.3f} ({s['worst_cell']}); largest drift of false alarms "
        f"{100 * (s['largest_alarm_drift'] or 0):+.1f} % ({s['largest_alarm_drift_cell']})."
    )


def clips(report: Report) -> str:
    part = report["clips"]
    whole = part["overall"]
    text = sources(part["by_source"]) + "\n\n"
    text += (
        f"{whole['false_alarms']} of {whole['real']} real clips alarm (at most "
        f"{100 * whole['false_alarms_at_most']:.1f} % with 95 % confidence); {whole['inconclusive']} of "
        f"{whole['real'] + whole['fake']} inconclusive; refused: {part['refused'] or 'none'}.\n\n"
    )
    text += compared(report["compared"]["clips"])
    return text + ("\n\n" + robustness(part["robustness"]) if part["robustness"] else "")


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a report with its place: ``videos.by_manipulation.ffpp-deepfakes.auc.value``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{path}.{_label(inner, number)}")
    else:
        yield path, value


def _label(row: Any, number: int) -> str:
    if not isinstance(row, dict):
        return str(number)
    words = [row.get(key) for key in ("name", "kind", "level", "slice", "from")]
    return " ".join(str(word) for word in words if word not in (None, "")) or str(number)
