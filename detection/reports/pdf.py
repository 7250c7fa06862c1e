"""An analysis as a PDF, from its stored rows and pictures only. The same rows make the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fpdf import FPDF, FontFace
from fpdf.enums import TableBordersLayout

from detection.models import Analysis
from detection.reports import analysis_payload, figures, stored_picture, words

Json = dict[str, Any]
Colour = tuple[int, int, int]

FONTS = Path(settings.BASE_DIR, "static", "fonts")
MARGIN = 18.0  # mm, as everything below
WIDTH = 210 - 2 * MARGIN
INK: Colour = (26, 28, 30)
SOFT: Colour = (95, 100, 105)
LINE: Colour = (213, 210, 200)
TONES: dict[str, Colour] = {
    "authentic": (20, 99, 78),
    "suspicious": (133, 80, 0),
    "manipulated": (165, 37, 27),
    "inconclusive": (74, 84, 95),
}
LANE = 20.0  # height of one person's curve
MOST_LANES = 8
MOST_POINTS = 600  # of one curve: one for each third of a millimetre
MOST_PEOPLE = 100  # the JSON has all
MOST_PICTURES = 12
MOST_ROWS = 200  # flagged faces in the table; the JSON has all


def report_pdf(analysis: Analysis) -> bytes:
    """The report of an analysis that has ended. Media, model, verdict, figures, people, flagged frames."""
    payload = analysis_payload(analysis)
    document = Document(payload)
    document.add_page()
    _title(document, payload)
    if payload["result"]:
        _verdict(document, payload)
        _worth(document, payload["result"])
    else:
        _failure(document, payload["error"] or {})
    _record(document, analysis, payload)
    if payload["result"]:
        _people(document, analysis, payload)
        _gallery(document, analysis, payload)
        _table(document, payload)
    return bytes(document.output())


class Document(FPDF):
    """A4 with Veriframe's fonts, headings and footer."""

    def __init__(self, payload: Json) -> None:
        super().__init__(format="A4")
        self.id = payload["id"]
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.set_auto_page_break(auto=True, margin=24)
        self.add_font("text", "", FONTS / "atkinson-next-regular.ttf")
        self.add_font("text", "B", FONTS / "atkinson-next-bold.ttf")
        self.add_font("mono", "", FONTS / "atkinson-mono-regular.ttf")
        self.set_lang(get_language() or "en")
        self.set_title(printable(_("Veriframe report: %(name)s") % {"name": payload["media"]["name"]}))
        ended = payload["finished_at"] or payload["created_at"]
        self.set_creation_date(datetime.fromisoformat(ended))  # not today: the same rows make the same bytes
        self.set_creator(f"Veriframe {settings.VERSION}")
        self.write_in()

    def write_in(self, size: float = 10, style: str = "", colour: Colour = INK, family: str = "text") -> None:
        self.set_font(family, style, size)
        self.set_text_color(*colour)

    def paragraph(self, text: str, size: float = 10, style: str = "", colour: Colour = INK) -> None:
        self.write_in(size, style, colour)
        self.multi_cell(0, size * 0.5, printable(text), align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(1.5)

    def heading(self, text: str, needs: float = 30) -> None:
        """``needs``: mm that must fit below it on the same page."""
        if self.will_page_break(needs):
            self.add_page()
        self.ln(4)
        self.write_in(13, "B")
        self.start_section(text)
        self.cell(0, 7, text, new_x="LMARGIN", new_y="NEXT")
        self.set_draw_color(*LINE)
        self.line(MARGIN, self.get_y(), MARGIN + WIDTH, self.get_y())
        self.ln(2)

    def facts(self, rows: Iterable[tuple[str, object]]) -> None:
        """Name and value below each other; hashes in the font in which 0 and O differ most."""
        for name, value in rows:
            text = printable(str(value))
            if self.will_page_break(6):
                self.add_page()
            self.write_in(9, colour=SOFT)
            self.cell(42, 5, name)
            is_hash = len(text) in (36, 64) and " " not in text and "." not in text
            self.write_in(8 if is_hash else 9, family="mono" if is_hash else "text")
            self.multi_cell(0, 5, text, align="L", new_x="LMARGIN", new_y="NEXT")

    def footer(self) -> None:
        self.set_y(-18)
        self.write_in(8, "B", SOFT)
        self.cell(0, 4, _("A score is evidence, not proof."), new_x="LMARGIN", new_y="NEXT")
        self.write_in(7, colour=SOFT, family="mono")
        self.cell(WIDTH / 2, 4, self.id)
        self.write_in(8, colour=SOFT)
        self.cell(0, 4, f"{self.page_no()} / {{nb}}", align="R")


@cache
def _covered() -> frozenset[int]:
    """Characters that the text font has."""
    with TTFont(FONTS / "atkinson-next-regular.ttf") as font:
        return frozenset(font.getBestCmap())


def printable(text: str) -> str:
    """Text with what the font lacks written as Python escapes: a report may not drop characters of a name."""
    return "".join(
        character if ord(character) in _covered() or character == "\n" else ascii(character)[1:-1] for character in text
    )


def _title(document: Document, payload: Json) -> None:
    document.write_in(10, "B", SOFT)
    document.cell(0, 5, _("Veriframe report"), new_x="LMARGIN", new_y="NEXT")
    document.write_in(19, "B")
    document.multi_cell(0, 9, printable(payload["media"]["name"]), align="L", new_x="LMARGIN", new_y="NEXT")
    document.ln(3)


def _verdict(document: Document, payload: Json) -> None:
    """What reviewers decided, if they have, and below it what the model says."""
    result, media, review = payload["result"], payload["media"], payload["review"]
    tone = TONES[result["verdict"]]
    document.set_draw_color(*tone)
    document.set_line_width(1.2)
    document.line(MARGIN, document.get_y(), MARGIN + WIDTH, document.get_y())
    document.set_line_width(0.2)
    document.ln(3)
    if review:
        document.paragraph(words.human_word(review["verdict"]), 17, "B", tone)
        document.paragraph(f"{words.human_sentence(review['verdict'])} {words.decision_word(review['decision'])}")
        document.facts([(_("Reviewed"), _moment(review["at"])), (_("By"), _("a reviewer"))])
        document.ln(3)
        document.paragraph(_("What the model says"), 9, "B", SOFT)
    said = result["model_verdict"]
    document.paragraph(words.verdict_word(said), 12 if review else 17, "B", TONES[said])
    document.paragraph(words.verdict_sentence(said, result["score"]))
    if media["kind"] == "video" and result["score"] is not None:
        flagged = _("%(flagged)d of %(total)d examined frames are flagged.")
        document.paragraph(flagged % {"flagged": result["deepfake_frames"], "total": result["total_frames"]})
    if result["score"] is not None:
        _scale(document, result)
    for reason in result["reasons"]:
        document.paragraph(reason["message"], style="B")
        document.paragraph(words.advice(reason["code"]))


def _scale(document: Document, result: Json) -> None:
    """The score on the verbal scale, a third for each verdict."""
    document.write_in(11, "B")
    score = _("Score %(score)s (0 looks real, 1 looks manipulated)") % {"score": figures.score(result["score"])}
    document.cell(0, 6, score, new_x="LMARGIN", new_y="NEXT")
    top, third = document.get_y() + 1, WIDTH / 3
    low, high = figures.limit(result["suspicious_threshold"]), figures.limit(result["threshold"])
    limits = [_("below %(value)s") % {"value": low}]
    limits += [_("from %(value)s") % {"value": value} for value in (low, high)]
    for place, verdict in enumerate(("authentic", "suspicious", "manipulated")):
        left = MARGIN + place * third
        document.set_fill_color(*(round(part + (255 - part) * 0.45) for part in TONES[verdict]))
        document.rect(left, top, third - 0.6, 5, style="F")
        document.set_xy(left, top + 5.5)
        document.write_in(9, "B", TONES[verdict])
        document.cell(third, 4.5, f"{words.short_word(verdict)} ({limits[place]})")
    document.set_draw_color(*INK)
    document.set_line_width(0.9)
    needle = MARGIN + WIDTH * figures.needle(result) / 1000
    document.line(needle, top - 1, needle, top + 6)
    document.set_line_width(0.2)
    document.set_xy(MARGIN, top + 13)


def _worth(document: Document, result: Json) -> None:
    document.heading(_("What this means"))
    document.paragraph(words.means(result))
    document.heading(_("What it does not mean"))
    document.paragraph(words.means_not(result["model_verdict"]))
    document.paragraph(str(words.DISCLAIMER), colour=SOFT)


def _failure(document: Document, error: Json) -> None:
    document.paragraph(_("This file could not be analysed"), 17, "B", TONES["inconclusive"])
    document.paragraph(error.get("message", ""))
    document.facts([(_("Error code"), error.get("code", "–"))])


def _record(document: Document, analysis: Analysis, payload: Json) -> None:
    media, result = payload["media"], payload["result"]
    document.heading(_("For the record"))
    rows: list[tuple[str, object]] = [
        (_("Name"), media["name"]),
        (_("Type"), media["mime"]),
        (_("Size"), _("%(size)s (%(bytes)d bytes)") % {"size": filesizeformat(media["size"]), "bytes": media["size"]}),
        ("SHA-256", media["sha256"]),
    ]
    if media["width"]:
        rows.append((_("Picture"), f"{media['width']} × {media['height']}"))
    if media["duration"]:
        rows.append((_("Length"), figures.timecode(media["duration"])))
    rows += [(_("Analysis"), payload["id"]), (_("Sent"), _moment(payload["created_at"]))]
    if media["deleted_at"]:
        rows.append((_("File deleted"), _moment(media["deleted_at"])))
    if payload["pictures"]["deleted_at"]:
        rows.append((_("Pictures deleted"), _moment(payload["pictures"]["deleted_at"])))
    rows += [(_("Begun"), _moment(payload["started_at"])), (_("Finished"), _moment(payload["finished_at"]))]
    if result:
        model = result["model"]
        rows += [(_("Model"), f"{model['name']} {model['version']}"), (_("Model SHA-256"), model["sha256"])]
        rows.append((_("Frames examined"), words.examined(analysis) or result["total_frames"]))
        rows.append((_("Frames flagged"), result["deepfake_frames"]))
    rows.append((_("Report by"), f"Veriframe {settings.VERSION}"))
    document.facts(rows)


def _moment(written: str | None) -> str:
    return f"{datetime.fromisoformat(written).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if written else "–"


def _people(document: Document, analysis: Analysis, payload: Json) -> None:
    """Each person with verdict, score, flagged parts, and the scores over time."""
    result, media = payload["result"], payload["media"]
    tracks = figures.people(result)
    if not tracks:
        return
    document.heading(_("People") if media["kind"] == "video" else _("Faces"), needs=45)
    for place, track in enumerate(figures.crowd(tracks, MOST_PEOPLE)[:MOST_PEOPLE]):
        _person(document, analysis, track, is_video=media["kind"] == "video")
        if media["kind"] == "video" and place < MOST_LANES:
            _lane(document, payload, track)
        document.ln(3)
    if len(tracks) > MOST_PEOPLE:
        rest = _("%(number)d more are in the JSON report.") % {"number": len(tracks) - MOST_PEOPLE}
        document.paragraph(rest, 9, colour=SOFT)


def _person(document: Document, analysis: Analysis, track: Json, *, is_video: bool) -> None:
    if document.will_page_break(22 + (LANE + 8 if is_video else 0)):
        document.add_page()
    top = document.get_y()
    name = _("Person %(number)d") % {"number": track["person"]}
    picture = stored_picture(analysis, track["thumbnail_url"])
    if picture:
        document.image(picture, MARGIN, top, 18, 18, alt_text=name)
    document.set_left_margin(MARGIN + 22)
    document.set_xy(MARGIN + 22, top)
    tone = TONES[track["verdict"]]
    document.paragraph(f"{name}: {words.verdict_word(track['verdict'])}", 11, "B", tone)
    lines = [_("Score %(score)s") % {"score": figures.score(track["score"])}]
    lines += [reason["message"] for reason in track["reasons"]]
    if track["segments"] and is_video:
        parts = [f"{figures.timecode(part['start'])}–{figures.timecode(part['end'])}" for part in track["segments"]]
        lines.append(_("Flagged parts: %(parts)s") % {"parts": ", ".join(parts[:40])})
    document.paragraph("\n".join(lines), 9)
    document.set_left_margin(MARGIN)
    document.set_xy(MARGIN, max(document.get_y(), top + 19))


def _lane(document: Document, payload: Json, track: Json) -> None:
    """Score over time: below the lower line no signs, above the dashed one strong signs."""
    result = payload["result"]
    low, high = result["suspicious_threshold"], result["threshold"]
    points = [
        (frame["time"], face) for frame in result["frames"] for face in frame["faces"] if face["track"] == track["id"]
    ]
    if not points or document.will_page_break(LANE + 6):
        return
    top = document.get_y() + 1
    span = max(payload["media"]["duration"] or 0, points[-1][0]) or 1
    if len(points) > MOST_POINTS:  # the worst one of each place: more would lie upon each other
        by_place = groupby(points, lambda point: int(MOST_POINTS * point[0] / span))
        points = [max(near, key=lambda point: point[1]["score"]) for _place, near in by_place]
    document.set_draw_color(*LINE)
    document.rect(MARGIN, top, WIDTH, LANE)
    document.line(MARGIN, top + LANE * 2 / 3, MARGIN + WIDTH, top + LANE * 2 / 3)
    document.set_draw_color(*SOFT)
    with document.local_context(dash_pattern={"dash": 1.2, "gap": 1, "phase": 0}):
        document.line(MARGIN, top + LANE / 3, MARGIN + WIDTH, top + LANE / 3)
    places = [
        (MARGIN + WIDTH * time / span, top + LANE * (1 - figures.level(face["score"], low, high)))
        for time, face in points
    ]
    document.set_draw_color(*INK)
    document.polyline(places)
    for (x, y), (_time, face) in zip(places, points, strict=True):
        document.set_fill_color(*TONES["manipulated" if face["flagged"] else "authentic"])
        document.circle(x, y, 0.9 if face["flagged"] else 0.5, style="F")
    document.write_in(7, colour=SOFT)
    document.set_xy(MARGIN, top + LANE + 0.5)
    document.cell(WIDTH / 2, 3.5, figures.timecode(0))
    document.cell(WIDTH / 2, 3.5, figures.timecode(span), align="R", new_x="LMARGIN", new_y="NEXT")


def _gallery(document: Document, analysis: Analysis, payload: Json) -> None:
    """The worst flagged faces, each as the network saw it and with its heat map."""
    there = (face for face in figures.worst_first(payload["result"]) if stored_picture(analysis, face["crop_url"]))
    faces = list(islice(there, MOST_PICTURES))  # no more are looked for: each may lie far away
    if not faces:
        return
    document.heading(_("Flagged frames, worst first"), needs=50)
    text = _("Left the face, right the same with the heat map: warm areas speak for manipulation.")
    if not any(face["heatmap_url"] for face in faces):
        text = _("This model gives no heat map.")
    document.paragraph(text, 9, colour=SOFT)
    side = (WIDTH - 8) / 6
    for place, face in enumerate(faces):
        if place % 3 == 0:
            if place:
                document.set_y(document.get_y() + side + 9)
            if document.will_page_break(side + 10):
                document.add_page()
        left, top = MARGIN + (place % 3) * (2 * side + 4), document.get_y()
        _pair(document, analysis, face, (left, top), side)
        document.set_xy(MARGIN, top)
    document.set_y(document.get_y() + side + 9)


def _pair(document: Document, analysis: Analysis, face: Json, place: tuple[float, float], side: float) -> None:
    left, top = place
    caption = _caption(face)
    crop, heat = stored_picture(analysis, face["crop_url"]), stored_picture(analysis, face["heatmap_url"])
    for picture, x in ((crop, left), (crop if heat else None, left + side), (heat, left + side)):
        if picture:
            document.image(picture, x, top, side, side, alt_text=caption)
    document.set_xy(left, top + side + 0.5)
    document.write_in(8)
    document.cell(2 * side, 4, caption)


def _caption(face: Json) -> str:
    return _("%(score)s · person %(person)d · %(time)s") % {
        "score": figures.score(face["score"]),
        "person": face["person"],
        "time": figures.timecode(face["time"]),
    }


def _table(document: Document, payload: Json) -> None:
    """Every flagged face as figures, worst first."""
    faces = figures.worst_first(payload["result"])
    if not faces:
        return
    document.heading(_("Flagged faces"), needs=40)
    head = [_("Time"), _("Frame"), _("Person"), _("Score"), _("Place in picture (px)"), _("Face width (px)")]
    document.write_in(8)
    document.set_draw_color(*LINE)
    document.set_fill_color(255)  # a table fills its cells with whatever was drawn last
    with document.table(
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="BOLD", color=SOFT),
        line_height=4.5,
        col_widths=(14, 12, 12, 12, 34, 20),
        text_align="LEFT",
    ) as table:
        table.row(head)
        for face in faces[:MOST_ROWS]:
            box = face["box"]
            place = f"{box['left']}, {box['top']} – {box['right']}, {box['bottom']}"
            size = f"{face['quality']['face_size']:.0f}"
            cells = [figures.timecode(face["time"]), face["index"], face["person"], figures.score(face["score"])]
            table.row([str(cell) for cell in (*cells, place, size)])
    if len(faces) > MOST_ROWS:
        rest = _("%(number)d more are in the JSON report.") % {"number": len(faces) - MOST_ROWS}
        document.paragraph(rest, 9, colour=SOFT)
