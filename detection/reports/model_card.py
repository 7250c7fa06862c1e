"""What is known about a model as sections of tables and sentences, for the page about it.

With measured facts (``model_card.json``, see ``detection.training.model_card``) it tells them; without, what the
registry says. Nothing here is about one model in particular. A part that was not measured leaves its section out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from detection.engine.registry import ModelSpec
from detection.models import RegisteredModel
from detection.reports import card
from detection.reports.figures import decimals, percent

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """``head`` names the columns; the first cell of each row names the row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    has_notes: bool = False  # in the last column, in the measurement's own words, which are English


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with sentences, a list and tables, each of which may be missing."""

    key: str  # names it in the address
    title: str
    intro: str = ""
    lines: Sequence[str] = ()
    is_quoted: bool = False  # the lines are the registry's or the measurement's own words, which are English
    tables: Sequence[Table] = field(default_factory=tuple)
    plots: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.intro or self.lines or self.tables or self.plots)


def sections(spec: ModelSpec) -> list[Section]:
    """All that there is to tell, in the order in which the page tells it."""
    facts = card.facts_of(spec)
    found = _of_facts(facts, card.plots_of(spec)) if facts else [*_of_registry(spec), _comparison(spec)]
    return [section for section in found if not section.is_empty]


# -- From the registry alone ------------------------------------------------------------------------------------------


def _of_registry(spec: ModelSpec) -> Iterable[Section]:
    if not spec.metrics:
        yield Section(
            "unknown",
            _("Not measured here"),
            _(
                "This model was brought to this site. How often it is right, and on what it fails, was not measured "
                "here; its scores are what it says itself, not calibrated probabilities."
            ),
        )
    yield Section("data", _("What it was trained on"), lines=spec.data, is_quoted=True)
    if not spec.metrics:
        return
    # xgettext:no-python-format
    interval = _("AUC (95 % interval)")
    areas = [[name, _interval(_triple(figures))] for name, figures in spec.metrics.get("validation_auc", {}).items()]
    yield Section(
        "ranking",
        _("How well it ranks"),
        _auc_means(),
        tables=[Table(_("By manipulation"), [_("Manipulation"), interval], areas)] if areas else [],
    )
    yield Section("thresholds", _("What it says at its thresholds"), lines=_registered_alarms(spec))


def _comparison(spec: ModelSpec) -> Section:
    """With the model that judged when it was measured, if it was."""
    row = RegisteredModel.objects.filter(name=spec.name, version=spec.version, sha256=spec.sha256).first()
    if row is None or row.gate is None:
        return Section("promotion", "")
    rows = [
        [
            measured["model"],
            decimals(measured["mean_auc"], 3),
            _of({"alarms": measured["false_alarms"], "reals": measured["genuine"]}),
            _of({"alarms": measured["detected"], "reals": measured["manipulated"]}),
        ]
        for measured in (row.gate["champion"], row.gate["candidate"])
    ]
    head = [_("Model"), _("Mean AUC"), _("False alarms"), _("Found")]
    intro = _(
        "Both were measured on the same labelled faces, which the people of this site chose. Whether either was "
        "trained on people in them is not known here."
    )
    if not row.passed_gate:
        intro += " " + _("This model was worse and is used all the same.")
    title = _("Compared with %(model)s on %(date)s") % {
        "model": row.gate["champion"]["model"],
        "date": date_format(datetime.fromisoformat(row.gate["at"])),
    }
    return Section("promotion", title, intro, tables=[Table(_("The model that judged then, and this one"), head, rows)])


def _registered_alarms(spec: ModelSpec) -> list[str]:
    """Sentences about the metrics that a release writes into the registry."""
    metrics, lines = spec.metrics, []
    if "validation_real" in metrics:
        alarms = _(
            "%(alarms)d of %(reals)d genuine files reached “strong signs” (at most %(most)s with 95 %% confidence)."
        )
        most = percent(metrics["validation_false_alarm_rate_upper_95"])
        lines.append(
            alarms % {"alarms": metrics["validation_false_alarms"], "reals": metrics["validation_real"], "most": most}
        )
    if "validation_manipulated" in metrics:
        found = _("%(found)d of %(fakes)d manipulated files did; the others were missed or came out as “some signs”.")
        lines.append(found % {"found": metrics["validation_detected"], "fakes": metrics["validation_manipulated"]})
    if "validation_ece" in metrics:
        error = _("Expected calibration error: %(error)s.")
        lines.append(error % {"error": decimals(metrics["validation_ece"], 3)})
    return lines


def _triple(figures: Sequence[float]) -> Json:
    value, low, high = figures
    return {"value": value, "low": low, "high": high}


# -- From measured facts ----------------------------------------------------------------------------------------------


def _of_facts(facts: Json, plots: Sequence[str]) -> Iterable[Section]:
    yield _quoted(facts, "intended_use", "for", _("What it is for"))
    yield _quoted(facts, "not_for", "not-for", _("What it is not for"))
    yield _quoted(facts, "blind_spots", "blind-spots", _("Known blind spots"))
    yield _quoted(facts, "not_measured", "not-measured", _("What was not measured"))
    yield _data(facts)
    yield _ranking(facts, plots)
    yield _operating(facts, plots)
    yield _clips(facts)
    yield _compared(facts)
    yield _left_out(facts)
    yield _robustness(facts, plots)
    yield _runs(facts, "ablation", "ingredient", _("What each ingredient brought"), _("Ingredient"))
    yield _runs(facts, "seeds", "seed", _("The same training with other seeds"), _("Seed"))
    yield _shortcuts(facts)
    yield _quoted(facts, "reproduce", "reproduce", _("How to reproduce"))


def _quoted(facts: Json, name: str, key: str, title: str) -> Section:
    return Section(key, title, lines=facts.get(name, ()), is_quoted=True)


def _auc_means() -> str:
    return _(
        # xgettext:no-python-format
        "AUC: how often a manipulated file gets a higher score than a genuine one; 0.5 is guessing, 1 is never wrong. "
        "Measured on people who were never trained on. In brackets the 95 % interval."
    )


def _data(facts: Json) -> Section:
    data, training = facts.get("data", {}), facts.get("training") or {}
    tables = []
    if training.get("faces"):
        rows = [[name, str(number)] for name, number in training["faces"].items()]
        tables.append(Table(_("Faces trained on"), [_("Source"), _("Faces")], rows))
    origins = data.get("evaluation", {}).get("origins", {})
    if origins:
        head = [_("Source"), _("Faces"), _("Videos or stills"), _("People or sources")]
        rows = [[name, *(str(row[key]) for key in ("faces", "videos", "people"))] for name, row in origins.items()]
        tables.append(Table(_("Measured on"), head, rows))
    title = _("What it was trained and measured on")
    return Section("data", title, lines=data.get("training", ()), is_quoted=True, tables=tables)


def _ranking(facts: Json, plots: Sequence[str]) -> Section:
    figures = facts.get("figures", {})
    # xgettext:no-python-format
    found = _("Found at 1 % false alarms")
    head = [_("Manipulation"), _("Genuine"), _("Manipulated"), "AUC", found]
    tables = []
    for key, caption in (("videos", _("File by file")), ("images", _("Face by face"))):
        rows = [
            [row["name"], str(row["real"]), str(row["fake"]), _interval(row.get("auc")), _interval(row.get("tpr_at_1"))]
            for row in figures.get(key, ())
        ]
        tables += [Table(caption, head, rows)] if rows else []
    intro = _auc_means()
    if figures.get("mean_auc"):
        intro += " " + _("Mean over the manipulations: %(mean)s.") % {"mean": _interval(figures["mean_auc"])}
    return Section("ranking", _("How well it ranks"), intro, tables=tables, plots=[n for n in ("roc",) if n in plots])


def _operating(facts: Json, plots: Sequence[str]) -> Section:
    point, lines = facts.get("operating_point", {}), []
    for kind, row in point.get("kinds", {}).items():
        text = _("Videos: %(alarms)d of %(reals)d genuine ones reached “strong signs” (at most %(most)s).")
        if kind == "image":
            text = _("Pictures: %(alarms)d of %(reals)d genuine ones reached “strong signs” (at most %(most)s).")
        most = percent(row["false_alarms_at_most"])
        lines.append(text % {"alarms": row["false_alarms"], "reals": point["reals"][kind], "most": most})
    if point.get("coverage") is not None:
        lines.append(_("Files that got a verdict at all: %(share)s.") % {"share": percent(point["coverage"])})
    rows = [_verdicts(row) for row in point.get("by_source", ())]
    shown = [name for name in ("scores", "reliability") if name in plots]
    title = _("What it says at its thresholds")
    return Section("thresholds", title, lines=lines, tables=_sources(rows), plots=shown)


def _sources(rows: Sequence[Sequence[str]]) -> list[Table]:
    head = [_("Source"), _("Class"), _("Files"), _("Strong signs"), _("Share"), _("Cannot tell")]
    return [Table(_("Verdicts by source"), head, rows)] if rows else []


def _verdicts(row: Json) -> list[str]:
    word = "detected" if row["label"] else "false_alarms"
    label = _("manipulated") if row["label"] else _("genuine")
    share = _interval(row.get(f"{word}_rate"), percent)
    return [row["name"], label, str(row["files"]), str(row[word]), share, str(row["inconclusive"])]


def _clips(facts: Json) -> Section:
    clips = facts.get("clips") or {}
    rows = [_verdicts(row) for row in clips.get("by_source", ())]
    intro = _("Through decoding, finding faces, following people and weighing up: as it runs here.") if rows else ""
    return Section("clips", _("Whole clips, as served"), intro, tables=_sources(rows))


def _compared(facts: Json) -> Section:
    tables = []
    captions = {"videos": _("AUC on the same videos and stills"), "clips": _("AUC on the same clips")}
    for what, rows in (facts.get("compared") or {}).items():
        names = list(rows[0]["auc"]) if rows else []
        if len(names) < 2:
            continue
        head = [_("Manipulation"), _("Genuine"), _("Manipulated"), *names]
        cells = [
            [row["name"], str(row["real"]), str(row["fake"]), *(_interval(row["auc"].get(name)) for name in names)]
            for row in rows
        ]
        tables.append(Table(captions.get(what, what), head, cells))
    return Section("compared", _("Beside other detectors"), tables=tables)


def _left_out(facts: Json) -> Section:
    rows = [
        [row["left_out"], str(row["real"]), str(row["fake"]), _interval(row["auc"])]
        for row in (facts.get("leave_one_out") or {}).get("rows", ())
    ]
    head = [_("Left out and tested on"), _("Genuine"), _("Manipulated"), "AUC"]
    intro = _(
        "Trained without one manipulation and tested on it: the nearest thing to meeting a new method. These are other "
        "networks of the same making; the one that judges here has seen all of them."
    )
    tables = [Table(_("Leave one out"), head, rows)] if rows else []
    return Section("leave-one-out", _("Manipulations that it never saw"), intro if rows else "", tables=tables)


def _robustness(facts: Json, plots: Sequence[str]) -> Section:
    part, tables = facts.get("robustness") or {}, []
    head = [_("Degradation"), _("Level"), "AUC", _("Loss of AUC"), _("False alarms")]
    for key, caption in (("bars", _("Everyday")), ("cells", _("All kinds and levels"))):
        rows = [
            [str(row["kind"]), str(row["level"]), _interval(row["auc"]), _interval(row["loss"]), _of(row)]
            for row in part.get(key, ())
        ]
        tables += [Table(caption, head, rows)] if rows else []
    intro = _("Files are compressed, scaled, blurred before they get here. What is left after that:") if tables else ""
    shown = [name for name in ("robustness",) if name in plots]
    return Section("robustness", _("What is left after degradation"), intro, tables=tables, plots=shown)


def _of(row: Json) -> str:
    return _("%(alarms)d of %(reals)d") % {"alarms": row["alarms"], "reals": row["reals"]}


def _runs(facts: Json, key: str, name: str, title: str, first: str) -> Section:
    """A table of training runs: what was changed, its figures, whether it stayed."""
    rows = (facts.get(key) or {}).get("rows", ())
    figures = list(dict.fromkeys(figure for row in rows for figure in row["figures"]))
    extra = [word for word in ("kept", "note") if any(word in row for row in rows)]
    words = {"kept": _("Kept"), "note": _("Note")}
    cells = [
        [str(row[name]), *(_cell(row["figures"].get(f)) for f in figures), *(_cell(row.get(word)) for word in extra)]
        for row in rows
    ]
    head = [first, *figures, *(words[word] for word in extra)]
    tables = [Table(title, head, cells, has_notes="note" in extra)] if cells else []
    return Section(key, title, tables=tables)


def _shortcuts(facts: Json) -> Section:
    rows = [[row["sees_only"], _interval(row["auc"])] for row in (facts.get("shortcuts") or {}).get("rows", ())]
    intro = _("AUC of classifiers that see nothing of the face; 0.5 means that the shortcut is closed.") if rows else ""
    tables = [Table(_("Shortcuts"), [_("Sees only"), "AUC"], rows)] if rows else []
    return Section("shortcuts", _("What shortcuts can tell"), intro, tables=tables)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, dict):
        return _interval(value)
    return decimals(value, 3) if isinstance(value, float) else "–" if value is None else str(value)


def _interval(figure: Json | None, write: Callable[[float], str] | None = None) -> str:
    """``0.912 (0.870–0.950)``; a dash for what could not be computed."""
    write = write or (lambda value: decimals(value, 3))
    if not figure or figure.get("value") is None:
        return "–"
    text = write(figure["value"])
    if figure.get("low") is None or figure.get("high") is None:
        return text
    return f"{text} ({write(figure['low'])}–{write(figure['high'])})"
