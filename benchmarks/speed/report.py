"""Tables: what was measured, as Markdown for people and as JSON for the next run to be held against."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Table:
    """One table; cells are text, ``notes`` stand below it."""

    title: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        if len(cells) != len(self.head):
            raise ValueError(f"{self.title}: {len(cells)} cells under {len(self.head)} heads")
        self.rows.append([number(cell) if isinstance(cell, float) else str(cell) for cell in cells])

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _row(self.head), "|" + "---|" * len(self.head), *map(_row, self.rows)]
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)])


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing that is to be reached: ``figure`` in ``unit``, at most ``most``."""

    what: str
    figure: float
    most: float
    unit: str

    @property
    def met(self) -> bool:
        return self.figure <= self.most


@dataclass(slots=True)
class Report:
    """What one section found. ``figures`` are raw: everything that a table shows in short."""

    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def number(value: float) -> str:
    """Three digits, without an exponent."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def goals(reports: Iterable[Report]) -> Table:
    table = Table("Reach", ["goal", "at most", "measured", ""])
    for goal in (goal for report in reports for goal in report.goals):
        most, figure = (f"{number(value)} {goal.unit}".strip() for value in (goal.most, goal.figure))
        table.add(goal.what, most, figure, "met" if goal.met else "**missed**")
    return table


def save(folder: Path, name: str, text: str, reports: dict[str, Report], **about: Any) -> Path:
    """Write ``name.md`` and ``name.json``. Returns the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    found = {
        section: {
            "figures": report.figures,
            "goals": [{"what": g.what, "figure": g.figure, "most": g.most, "met": g.met} for g in report.goals],
        }
        for section, report in reports.items()
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**about, "sections": found}, indent=1), encoding="utf-8")
    return path
