"""The catalogues are complete, current and compiled, and nothing that people read goes past them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import translation

from tests.conftest import lacking

ROOT = Path(settings.BASE_DIR)
OURS, ALLAUTH = (Path(path, "de", "LC_MESSAGES", "django.po") for path in settings.LOCALE_PATHS)
CATALOGUES = pytest.mark.parametrize("path", [OURS, ALLAUTH], ids=["ours", "allauth"])
# As `make messages` calls it.
EXTRACT = "makemessages --locale de --no-obsolete --no-wrap --add-location file --ignore tests --ignore benchmarks"
EXTRACT += " --ignore runs --ignore media --ignore static --ignore detection/training"
PLACEHOLDER = re.compile(r"%%|%\(\w+\)[sd]|%[sd]|\{\w+\}|</?\w+|&\w+;")
INFORMAL = re.compile(r"\b([Dd]u|[Dd]ich|[Dd]ir|[Dd]ein\w*|[Ee]uch|[Gg]ib|[Ww]ähle|[Ll]ass)\b")


def forms(entry: polib.POEntry) -> list[tuple[str, str]]:
    """Each original with its translation: one, or singular and plural."""
    if entry.msgid_plural:
        return [(entry.msgid, entry.msgstr_plural[0]), (entry.msgid_plural, entry.msgstr_plural[1])]
    return [(entry.msgid, entry.msgstr)]


def ids(catalogue: polib.POFile) -> set[tuple[str | None, str, str]]:
    return {(entry.msgctxt, entry.msgid, entry.msgid_plural) for entry in catalogue}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> polib.POFile:
    """The catalogue as it would be if it were written anew from today's sources."""
    if shutil.which("xgettext") is None:
        lacking("needs gettext (Debian: apt install gettext)")
    copy = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("__pycache__", "weights", "training")
    for folder in ("config", "accounts", "detection", "templates"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / file, copy)
    environment = {**os.environ, "VERIFRAME_ENV_FILE": "", "VERIFRAME_DEBUG": "1", "PYTHONPATH": str(copy)}
    command = [sys.executable, "manage.py", *EXTRACT.split()]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    return polib.pofile(str(copy / OURS.relative_to(ROOT)))


def test_every_string_of_the_sources_is_in_the_catalogue_and_no_other(extracted: polib.POFile):
    known, wanted = ids(polib.pofile(str(OURS))), ids(extracted)
    assert wanted - known == set(), "run `make messages`, then translate"
    assert known - wanted == set(), "run `make messages`: these are gone from the sources"


@CATALOGUES
def test_every_string_is_translated_for_certain(path: Path):
    catalogue = polib.pofile(str(path))
    assert len(catalogue) > 50
    assert [entry.msgid for entry in catalogue if not entry.translated()] == []
    assert [entry.msgid for entry in catalogue if entry.fuzzy] == []
    assert [entry.msgid for entry in catalogue.obsolete_entries()] == []


@CATALOGUES
def test_what_is_committed_is_what_the_catalogue_compiles_to(path: Path):
    compiled = {entry.msgid: forms(entry) for entry in polib.mofile(str(path.with_suffix(".mo")))}
    assert compiled == {entry.msgid: forms(entry) for entry in polib.pofile(str(path))}, "run `make messages`"


@CATALOGUES
def test_a_translation_fills_in_the_same_values_and_keeps_the_tags(path: Path):
    for entry in polib.pofile(str(path)):
        for original, german in forms(entry):
            assert sorted(PLACEHOLDER.findall(german)) == sorted(PLACEHOLDER.findall(original)), original


@CATALOGUES
def test_german_is_formal_and_typeset_as_german(path: Path):
    for entry in polib.pofile(str(path)):
        for original, german in forms(entry):
            assert not INFORMAL.search(german), german
            assert "”" not in german, german
            assert german.count("„") == german.count("“"), german
            ends = (original.rstrip()[-1], german.rstrip()[-1])
            assert ends[0] == ends[1] or not set(ends) & set(".:?!"), (original, german)


def test_what_allauth_says_is_formal_where_a_user_can_meet_it():
    """Its own catalogue says "du"; ours goes before it, and has to follow when allauth changes its words."""
    import allauth

    used = re.compile(r"^(\.\./)*(templates/)?(account|allauth|mfa|usersessions)/")
    theirs = polib.pofile(str(Path(allauth.__file__).parent / "locale/de/LC_MESSAGES/django.po"))
    theirs_by_id = {entry.msgid for entry in theirs}
    assert {entry.msgid for entry in polib.pofile(str(ALLAUTH))} <= theirs_by_id
    with translation.override("de"):
        for entry in theirs:
            if any(used.match(place) for place, _ in entry.occurrences):
                assert not INFORMAL.search(translation.gettext(entry.msgid)), entry.msgid


# -- Nothing goes past the catalogue ----------------------------------------------------------------------------------

MARKED = re.compile(
    r"\{%\s*block page_class\s*%\}.*?\{%\s*endblock page_class\s*%\}"  # names of styles
    r"|\{%\s*comment\s*%\}.*?\{%\s*endcomment\s*%\}"
    r"|\{%\s*blocktranslate.*?\{%\s*endblocktranslate\s*%\}"
    r"|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}",
    re.DOTALL,
)
SPOKEN = {"alt", "aria-label", "aria-description", "label", "placeholder", "title"}
NO_WORDS = {"SHA-256", "s"}  # the same in every language


class Words(HTMLParser):
    """Letters that a template shows without asking the catalogue."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in SPOKEN:
                self.handle_data(value or "")

    def handle_data(self, data: str) -> None:
        if re.search(r"[^\W\d_]", data) and data.strip() not in NO_WORDS:
            self.found.append(data.strip())


@pytest.mark.parametrize("path", sorted((ROOT / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_templates_show_no_word_that_is_not_marked(path: Path):
    words = Words()
    words.feed(MARKED.sub("", path.read_text(encoding="utf-8")))
    assert words.found == []


def scripts() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "static/js").glob("*.js"))}


def test_scripts_show_no_word_of_their_own():
    shown = re.compile(r"\b(textContent|innerText|title|alt|placeholder|ariaLabel)\s*=\s*[\"'`]([^\"'`]*)")
    spoken = re.compile(r"[\"'](aria-label|title|alt)[\"']\s*[,:]\s*[\"'`]([^\"'`]*)")
    for name, source in scripts().items():
        for _, literal in (*shown.findall(source), *spoken.findall(source)):
            assert not re.search(r"[A-Za-z]{2}", re.sub(r"\$\{.*?\}", "", literal)), f"{name}: {literal}"


def test_every_text_that_a_script_asks_for_is_handed_over_and_no_other():
    handed = set(re.findall(r'data-key="([\w.]+)"', (ROOT / "templates/includes/live_texts.html").read_text("utf-8")))
    source = "\n".join(scripts().values())
    asked = set(re.findall(r"\btext\(\s*\"([\w.]+)\"", source))
    for chosen in re.findall(r"\btext\(([^()]*\?[^()]*(?:\(\))?[^()]*)\)", source):  # text(denied ? "a" : "b")
        asked |= set(re.findall(r"\"([\w.]+)\"", chosen))
    families = re.findall(r"\btext\(`([\w.]+)\$\{", source)
    assert asked <= handed
    assert {family for family in families if not any(key.startswith(family) for key in handed)} == set()
    assert {key for key in handed - asked if not key.startswith(tuple(families))} == set()
