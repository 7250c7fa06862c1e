"""A report as pictures: SVG with real text, readable on a light and on a dark page, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from detection.training.scoring import Judged, comparisons

# Mid-tones of about equal lightness that stay apart for the colour-blind (after Okabe and Ito), each with a dash
# pattern of its own; grey for what is not data. All have a contrast of 3:1 or so against white and near-black.
COLOURS = ("#3b82c4", "#d55e00", "#0f9d76", "#c264a5", "#b8860b", "#7a7fd1", "#5f9ea0", "#c75a5a", "#8a8a3a")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 2)), (0, (2, 2)))
GREY = "#808080"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "veriframe",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "text.color": GREY,
    "legend.labelcolor": GREY,
    "legend.frameon": False,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def draw(report: dict[str, Any], videos: Judged, folder: Path) -> list[Path]:
    """Write all plots of a report to ``folder``; returns their paths."""
    paths = [
        roc(videos, folder / "roc.svg"),
        reliability(report["videos"]["reliability"], folder / "reliability.svg"),
        histogram(videos, report["model"], folder / "scores.svg"),
    ]
    if "cells" in report.get("robustness", {}):
        paths.append(robustness(report["robustness"]["cells"], folder / "robustness.svg"))
    return paths


@contextmanager
def _figure(path: Path, title: str, *, rows: int = 1, columns: int = 1, size: tuple[float, float]) -> Iterator[Any]:
    """A figure that is written when the block ends. No state of pyplot, no display, no date in the file."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        figure.suptitle(title, fontsize=10)
        yield axes.ravel()
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Title": title})


def roc(videos: Judged, path: Path) -> Path:
    """ROC curves, one a manipulation, each against its own reals; false alarms on a root scale."""
    with _figure(path, "ROC by manipulation, videos and stills", size=(6.4, 4.2)) as (axes,):
        for i, (name, mask) in enumerate(comparisons(videos).items()):
            part = videos.where(mask)
            false, true = _curve(part)
            axes.plot(np.sqrt(false), true, color=COLOURS[i % 9], linestyle=DASHES[i % 9], label=name, linewidth=1.4)
        ticks = np.array([0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
        axes.set_xticks(np.sqrt(ticks), [f"{100 * t:g} %" for t in ticks])
        axes.set(xlabel="real files that reach the threshold (root scale)", ylabel="manipulated files found")
        axes.set(xlim=(0, 1), ylim=(0, 1.01))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def _curve(part: Judged) -> tuple[Any, Any]:
    order = np.argsort(-part.scores, kind="stable")
    labels, scores = part.labels[order], part.scores[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    rates = [np.concatenate([[0], np.cumsum(labels == k)[ends] / max(1, (labels == k).sum())]) for k in (0, 1)]
    return rates[0], rates[1]


def reliability(bins: Sequence[dict[str, Any]], path: Path) -> Path:
    """Predicted probability against the share of manipulated files, ten bins of equal mass."""
    with _figure(path, "Reliability", size=(4.2, 4.0)) as (axes,):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        predicted = [b["predicted"] for b in bins]
        axes.plot(predicted, [b["observed"] for b in bins], "o-", color=COLOURS[0], linewidth=1.4, markersize=5)
        axes.set(xlabel="mean score of the bin", ylabel="share of manipulated files", xlim=(0, 1), ylim=(-0.02, 1.02))
        axes.set_aspect("equal")
    return path


def histogram(videos: Judged, model: dict[str, Any], path: Path) -> Path:
    """Scores of real and manipulated files, with the thresholds (of photos and of videos)."""
    with _figure(path, "Scores", size=(6.4, 3.2)) as (axes,):
        edges = np.linspace(0, 1, 26)
        for label, name, colour, hatch in ((0, "real", COLOURS[2], ""), (1, "manipulated", COLOURS[1], "///")):
            scores = videos.scores[videos.labels == label]
            weights = np.full(len(scores), 100 / max(1, len(scores)))
            axes.hist(
                scores, edges, weights=weights, label=f"{name} ({len(scores)})",
                histtype="stepfilled", facecolor="none" if hatch else colour + "80", edgecolor=colour, hatch=hatch,
            )  # fmt: skip
        for name in ("suspicious", "manipulated"):
            for value in sorted({model[kind][name] for kind in ("image", "video")}):
                kinds = [kind for kind in ("image", "video") if model[kind][name] == value]
                said = name if len(kinds) == 2 else f"{name}, {kinds[0]}"
                axes.axvline(value, color=GREY, linewidth=1, linestyle="--")
                axes.text(value, axes.get_ylim()[1], f"{said} ", rotation=90, ha="right", va="top", fontsize=8)
        axes.set(xlabel="score", ylabel="files of the class, %", xlim=(0, 1))
        axes.legend(loc="upper center")
    return path


def robustness(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Mean AUC over the levels of each degradation, one panel a suite; the clean figure as a line."""
    suites = {suite: [r for r in rows if r["suite"] == suite] for suite in ("DeeperForensics-1.0", "GenD", "everyday")}
    suites = {suite: members for suite, members in suites.items() if members}
    title = "AUC left after degradation, mean over manipulations"
    with _figure(path, title, columns=len(suites), size=(3.6 * len(suites) + 0.6, 4.4)) as panels:
        for axes, (suite, members) in zip(panels, suites.items(), strict=True):
            _suite(axes, suite, members, clean=rows[0]["auc"]["value"])
        panels[0].set_ylabel("AUC")
    return path


def _suite(axes: Axes, suite: str, rows: Sequence[dict[str, Any]], *, clean: float) -> None:
    kinds: dict[str, list[float]] = {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(row["auc"]["value"])
    axes.axhline(clean, color=GREY, linewidth=1)
    axes.axhline(clean - 0.08, color=GREY, linewidth=0.8, linestyle=":")
    if all(len(values) == 1 for values in kinds.values()):
        axes.bar(list(kinds), [v[0] for v in kinds.values()], color=COLOURS[0], width=0.6)
        axes.tick_params(axis="x", rotation=30)
    else:
        for i, (kind, values) in enumerate(kinds.items()):
            steps = range(1, len(values) + 1)
            axes.plot(steps, values, color=COLOURS[i], linestyle=DASHES[i], marker="o", markersize=3, label=kind)
        axes.set_xlabel("level, in the order of the table")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)
    axes.set(title=suite, ylim=(0.4, 1.0))
