"""The site as a German reads it; codes, figures for programs and file formats stay what they are."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polib
import pytest
from django.conf import LazySettings, settings
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import translation
from pypdf import PdfReader

from accounts.models import User
from config.asgi import application
from config.body_limit import BodyLimit
from config.languages import language_of
from detection import progress
from detection.engine import aggregation, media
from detection.engine.errors import ErrorCode
from detection.engine.registry import QualityLimits, find_model
from detection.engine.types import ReasonCode, Verdict
from detection.models import LABELS, Analysis, Upload
from detection.reports import analysis_payload, figures, words
from detection.reports.page import quality_notes
from tests import factories

pytestmark = pytest.mark.django_db
GERMAN = {"Accept-Language": "de-AT, en;q=0.5"}
JSON = {"Accept": "application/json"}
CATALOGUE = Path(settings.LOCALE_PATHS[0], "de", "LC_MESSAGES", "django.po")
ENGLISH_WORDS = re.compile(r"\b(the|and|with|your|from|that|this|there|which|were|has|been|you|of|is|are|not)\b", re.I)


class Page(HTMLParser):
    """The texts of a page that are not marked as English, attributes that are read out and hand-overs included."""

    VOID = {"meta", "link", "img", "input", "br", "hr", "path", "circle", "rect", "ellipse"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.languages: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in self.VOID:
            self.languages.append((tag, given.get("lang") or (self.languages[-1][1] if self.languages else "")))
        for name in (
            "alt",
            "aria-label",
            "title",
            "placeholder",
            "content" if given.get("name") == "description" else "",
        ):
            self.handle_data(given.get(name) or "")

    def handle_endtag(self, tag: str) -> None:
        while self.languages and self.languages.pop()[0] != tag:
            pass  # elements that end with their parent

    def handle_data(self, data: str) -> None:
        inside = [tag for tag, _ in self.languages]
        if data.strip() and "script" not in inside and self.languages and self.languages[-1][1] != "en":
            self.texts.append(" ".join(data.split()))


@pytest.fixture(scope="module")
def originals() -> set[str]:
    """English sentences and words that have another German one; those with values in them are left out."""
    known = {entry.msgid: entry.msgstr for entry in polib.pofile(str(CATALOGUE))}
    return {original for original, german in known.items() if german != original and not re.search(r"[%{]", original)}


@pytest.fixture
def everything(owner: User) -> dict[str, Analysis]:
    """An analysis of each kind of outcome."""
    result = factories.make_result(owner, tracks=2, frames=4)
    Upload.objects.filter(pk=result.upload_id).update(kind="video", mime="video/mp4", duration=63.25, name="Rede.mp4")
    stored = [{"code": code, "message": aggregation.MESSAGES[code]} for code in ReasonCode]
    done = {"status": "succeeded", "threshold": 0.97, "suspicious_threshold": 0.9}
    return {
        "result": result,
        "picture": factories.make_result(owner, tracks=1, frames=1),
        "unclear": factories.make_analysis(owner, verdict="inconclusive", reasons=stored, **done),
        **{
            word: factories.make_analysis(owner, verdict=word, score=0.5, **done)
            for word in ("authentic", "suspicious")
        },
        "failed": factories.make_analysis(
            owner, status="failed", error_code="unreadable_media", error_message=media._DAMAGED
        ),
        "queued": factories.make_analysis(owner),
        "running": factories.make_analysis(owner, status="running", stage="scoring", frames_done=3, frames_total=9),
        "cancelled": factories.make_analysis(owner, status="cancelled"),
    }


def german(client: Client, path: str, **query: str) -> str:
    response = client.get(path, query, headers=GERMAN)
    assert response["Content-Language"] == "de"
    assert "Accept-Language" in response["Vary"]
    return response.content.decode()


def assert_is_german(page: str, originals: set[str]) -> None:
    assert '<html lang="de">' in page
    texts = Page(page).texts
    assert [text for text in texts if text in originals] == []
    assert [text for text in texts if ENGLISH_WORDS.search(re.sub(r"\S+@\S+|\S+\.\w{3,4}\b", "", text))] == []


# -- Pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/model/", "/nothing/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"],
)
def test_a_guest_reads_german(client: Client, originals: set[str], path: str):
    assert_is_german(german(client, path), originals)


@pytest.mark.parametrize(
    "path", ["/", "/analyses/", "/analyses/?search=nichts", "/accounts/email/", "/accounts/password/change/", "/model/"]
)
def test_a_user_reads_german(owner_client: Client, everything: dict, originals: set[str], path: str):
    assert_is_german(german(owner_client, path), originals)


def test_every_outcome_reads_german(owner_client: Client, everything: dict[str, Analysis], originals: set[str]):
    for analysis in everything.values():
        assert_is_german(german(owner_client, analysis.get_absolute_url()), originals)
        assert_is_german(german(owner_client, f"{analysis.get_absolute_url()}delete/"), originals)


def test_a_first_visit_reads_german(owner_client: Client, originals: set[str]):
    for path in ("/", "/analyses/"):
        assert_is_german(german(owner_client, path), originals)


def test_the_verdict_is_as_careful_as_in_english(owner_client: Client, everything: dict[str, Analysis]):
    page = german(owner_client, everything["result"].get_absolute_url())
    for said in ("Deutliche Anzeichen einer Manipulation", "Es ist kein Beweis", "0,91", "1:03,2", "ab 0,80"):
        assert said in page, said
    assert "Keine Aussage möglich" in german(owner_client, everything["unclear"].get_absolute_url())
    with translation.override("de"):
        assert [words.verdict_word(verdict) for verdict in Verdict] == [
            "Keine Anzeichen einer Manipulation gefunden",
            "Einige Anzeichen einer Manipulation",
            "Deutliche Anzeichen einer Manipulation",
            "Keine Aussage möglich",
        ]


def test_what_scripts_read_is_written_for_programs(owner_client: Client, everything: dict[str, Analysis]):
    page = german(owner_client, everything["result"].get_absolute_url())
    assert '"score": 0.5' in page
    assert 'data-max-bytes="104857600"' in german(owner_client, "/")
    assert 'value="33"' in german(owner_client, everything["running"].get_absolute_url())


def test_flash_messages_and_bulk_questions_are_german(owner_client: Client, everything: dict, originals: set[str]):
    chosen = [str(everything["failed"].pk), str(everything["queued"].pk)]
    asked = owner_client.post("/analyses/bulk/", {"action": "delete", "analysis": chosen}, headers=GERMAN)
    assert_is_german(asked.content.decode(), originals)
    assert "Diese 2 Analysen löschen?" in asked.content.decode()
    owner_client.post(
        "/analyses/bulk/", {"action": "delete", "analysis": chosen[:1], "confirmed": "yes"}, headers=GERMAN
    )
    assert "1 Analyse wurde gelöscht." in german(owner_client, "/analyses/")
    owner_client.post(f"/analyses/{everything['picture'].pk}/delete/", headers=GERMAN)
    assert "„face.jpg“ und alles" in german(owner_client, "/analyses/")


def test_a_refused_upload_says_why_in_german(owner_client: Client, originals: set[str]):
    answer = owner_client.post("/upload/", {"file": factories.uploaded("brief.txt")}, headers=GERMAN)
    assert answer.status_code == 415
    assert "„brief.txt“ ist von einem Typ" in answer.content.decode()
    assert_is_german(answer.content.decode(), originals)
    assert "Wählen Sie zuerst eine Datei" in owner_client.post("/upload/", headers=GERMAN).content.decode()


def test_the_admin_knows_our_words(client: Client, everything: dict[str, Analysis]):
    client.force_login(factories.make_user("chief@example.org", is_staff=True, is_superuser=True))
    page = german(client, "/admin/detection/analysis/")
    for word in ("Befund", "Ausgewählte Analysen abbrechen", "manipuliert", "unlesbare Datei", "Eigentümer"):
        assert word in page, word
    assert "Erkennung" in german(client, "/admin/")


def test_mail_is_german_and_formal(client: Client, owner: User, mailoutbox: list[EmailMessage]):
    client.post("/accounts/password/reset/", {"email": owner.email}, headers=GERMAN)
    [mail] = mailoutbox
    assert "Passwort" in mail.subject
    assert "Sie" in mail.body
    assert not ENGLISH_WORDS.search(re.sub(r"\S+[@.:/]\S+", "", mail.body))


def test_these_tests_would_notice(owner_client: Client, originals: set[str]):
    page = owner_client.get("/").content.decode().replace('lang="en"', 'lang="de"', 1)
    with pytest.raises(AssertionError):
        assert_is_german(page, originals)


# -- API, files, events -----------------------------------------------------------------------------------------------


def test_codes_never_change_with_the_language(owner_client: Client, everything: dict[str, Analysis]):
    def ask(path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        response = owner_client.get(path, headers={**JSON, **headers})
        return response.status_code, response.json()

    path = "/api/v1/analyses/00000000-0000-0000-0000-000000000000/"
    (status, english), (same, told) = ask(path), ask(path, **GERMAN)
    assert (status, english["code"], english["title"]) == (same, told["code"], told["title"])
    assert english["detail"] == "There is nothing here, or it is not yours."
    assert told["detail"] == "Hier ist nichts, oder es gehört Ihnen nicht."

    address = f"/api/v1/analyses/{everything['failed'].pk}/"
    english, told = ask(address)[1], ask(address, **GERMAN)[1]
    assert english["error"]["message"] == media._DAMAGED
    assert told["error"]["code"] == english["error"]["code"] == "unreadable_media"
    assert told["error"]["message"].startswith("Das Video ist beschädigt")
    assert {**english, "error": None} == {**told, "error": None}


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("get", "/api/v1/analyses/?verdict=schuldig", "invalid_request"),
        ("post", "/api/v1/analyses/", "missing_file"),
        ("put", "/api/v1/analyses/", "method_not_allowed"),
    ],
)
def test_problems_are_told_in_german(owner_client: Client, method: str, path: str, code: str):
    body = getattr(owner_client, method)(path, headers={**JSON, **GERMAN}).json()
    assert body["code"] == code
    assert not ENGLISH_WORDS.search(body["detail"])


def test_days_are_asked_for_in_one_way(owner_client: Client, everything: dict[str, Analysis]):
    """A program's query must not mean another day because of the language of whoever runs it."""
    for headers in ({}, GERMAN):
        refused = owner_client.get("/api/v1/analyses/", {"since": "02.03.2026"}, headers={**JSON, **headers})
        assert refused.status_code == 400
        assert owner_client.get("/api/v1/analyses/", {"since": "2026-03-02"}, headers=headers).status_code == 200


def test_days_are_written_as_the_reader_writes_them():
    by_hand = re.compile(r"""\|date:["'](?!\w+_FORMAT["']|[HiscT:]+["'])[^"']*["']""")
    pages = [path for folder in settings.TEMPLATES[0]["DIRS"] for path in Path(folder).rglob("*.html")]
    found = {path.name: by_hand.findall(path.read_text(encoding="utf-8")) for path in pages}
    assert not {name: formats for name, formats in found.items() if formats}
    assert by_hand.search('{{ day|date:"j M Y" }}'), "this test would notice"


def test_the_csv_is_the_same_in_every_language(owner_client: Client, everything: dict[str, Analysis]):
    path = "/analyses/export.csv"
    assert owner_client.get(path, headers=GERMAN).content == owner_client.get(path).content
    assert b",0.91," in owner_client.get(path, headers=GERMAN).content


def test_the_report_is_in_the_language_of_the_one_who_asks(owner_client: Client, everything: dict[str, Analysis]):
    path = f"/api/v1/analyses/{everything['result'].pk}/report"
    reader = PdfReader(io.BytesIO(owner_client.get(f"{path}.pdf", headers=GERMAN).content))
    text = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    for said in (
        "Veriframe-Bericht",
        "Deutliche Anzeichen",
        "Score 0,91",
        "kein Beweis",
        "Dauer 1:03,2",
        "Gesichtsbreite",
    ):
        assert said in text, said
    assert not ENGLISH_WORDS.search(text)
    assert reader.trailer["/Root"]["/Lang"] == "de"

    body = owner_client.get(f"{path}.json", headers=GERMAN).json()
    assert (body["format"], body["analysis"]["result"]["verdict"]) == ("veriframe-report/1", "manipulated")
    assert body["statement"] == "Deutliche Anzeichen einer Manipulation"
    assert body["notice"].startswith("Ein Score ist ein Indiz, kein Beweis.")


def test_the_reports_fonts_have_every_letter_of_the_catalogue():
    from fontTools.ttLib import TTFont

    used = {
        c for entry in polib.pofile(str(CATALOGUE)) for c in entry.msgstr if not unicodedata.category(c).startswith("Z")
    }
    for name in ("regular", "bold"):
        with TTFont(Path(settings.BASE_DIR, f"static/fonts/atkinson-next-{name}.ttf")) as font:
            assert {c for c in used if ord(c) not in font.getBestCmap()} <= {"\n"}


def test_an_event_comes_in_the_language_of_the_page_that_listens(everything: dict[str, Analysis]):
    """A worker knows no reader: it sends what the engine said, and each socket tells its own one."""
    raw = progress.updated(everything["failed"])
    assert raw["error"] == {"code": "unreadable_media", "message": media._DAMAGED}
    with translation.override("de"):
        told = words.event(raw)
        assert told["error"]["message"].startswith("Das Video ist beschädigt")
        assert {**told, "error": None} == {**raw, "error": None}
        assert words.event(progress.updated(everything["running"]))["error"] is None


@pytest.mark.parametrize(
    ("accept", "expected"), [(b"text/html", "Das ist zu groß"), (b"application/json", "größer als")]
)
async def test_even_what_is_refused_before_django_sees_it(accept: bytes, expected: str):
    sent: list[Mapping[str, Any]] = []
    headers = [
        (b"content-length", b"99"),
        (b"accept", accept),
        (b"accept-language", b"de"),
        (b"expect", b"100-continue"),
    ]

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event)

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.disconnect"}

    await BodyLimit(application, limit=10, limits={})({"path": "/", "headers": headers}, receive, send)
    assert expected in sent[1]["body"].decode("unicode_escape" if b"json" in accept else "utf-8")
    assert dict(sent[0]["headers"])[b"content-language"] == b"de"


def test_without_middleware_the_language_is_chosen_as_with_it():
    def asked(**headers: str) -> str:
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return language_of({"headers": pairs})

    assert asked() == "en"
    assert asked(accept_language="fr, de;q=0.8") == "de"
    assert asked(accept_language="de", cookie="a=b; django_language=en") == "en"
    assert asked(accept_language="de", cookie="django_language=tlh") == "de"


# -- What the engine said ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_has_a_text_in_both_languages(code: ErrorCode):
    told = {}
    for language in ("en", "de"):
        with translation.override(language):
            told[language] = words.error({"code": code, "message": ""})["message"]
            assert len(told[language]) > 30
            assert "%" not in told[language]
    assert told["en"] != told["de"]
    assert words.failure(code) == told["en"]


@pytest.mark.parametrize("code", ReasonCode)
def test_every_reason_has_a_text_and_advice_in_both_languages(code: ReasonCode):
    told = {}
    for language in ("en", "de"):
        with translation.override(language):
            [row] = words.reasons([{"code": code, "message": aggregation.MESSAGES[code]}])
            told[language] = (row["message"], words.advice(code))
            assert row["code"] == code
    assert told["en"][0] == aggregation.MESSAGES[code]
    assert not set(told["en"]) & set(told["de"])


def test_every_word_of_the_engine_has_a_german_label():
    with translation.override("de"):
        told = {word: str(label) for word, label in LABELS.items()}
    assert [word for word, label in told.items() if label == word.replace("_", " ") and word != "video"] == []


def test_sentences_of_the_engine_keep_what_they_say():
    """The catalogue knows the constant ones; of one with figures in it the code is told, with this site's limit."""
    foreign = {"code": "unreadable_media", "message": media._FOREIGN}
    pixels = {"code": "too_many_pixels", "message": "The picture has 9000 × 9000 pixels; at most 50 million can be."}
    unknown = {"code": "from_tomorrow", "message": "Something new."}
    with translation.override("de"):
        assert "MP4, MOV, AVI, MKV oder WebM" in words.error(foreign)["message"]
        assert "Höchstens 50 Millionen" in words.error(pixels)["message"]
        assert words.error(unknown) == unknown
        assert words.reasons([{"code": "too_dark", "message": "Of an older version."}])[0]["message"].startswith(
            "Das G"
        )
    with translation.override("en"):
        for said in (foreign, pixels, unknown):
            assert words.error(said) == said
    assert words.error(None) is None


def test_an_analysis_made_in_english_reads_in_german_later(owner: User, everything: dict[str, Analysis]):
    with translation.override("de"):
        reasons = analysis_payload(everything["unclear"])["result"]["reasons"]
    assert [reason["code"] for reason in reasons] == list(ReasonCode)
    assert reasons[0]["message"] == "Es wurde kein Gesicht gefunden. Veriframe beurteilt nur Gesichter."


def test_quality_notes_are_german_at_every_level():
    def notes(value: float, limits: QualityLimits | None) -> list[str]:
        quality = {"face_size": value, "sharpness": value, "brightness": value}
        media_facts = {"kind": "image", "width": 100, "height": 100, "size": 1234}
        payload = {"media": media_facts, "result": {"frames": [{"faces": [{"quality": quality}]}]}}
        return [text for note in quality_notes(payload, limits) for text in (note.name, note.value, note.words)]

    limits = find_model().quality
    for value in (0.0, 40.0, 100.0, 250.0):
        with translation.override("en"):
            english = notes(value, limits)
        with translation.override("de"):
            told = notes(value, limits)
        assert "0,99 Bit pro Pixel" in told
        assert [text for text in told if text in english and re.search("[a-z]{3}", text)] == []


def test_figures_are_written_as_the_reader_writes_them():
    with translation.override("de"):
        assert (figures.timecode(63.25), figures.score(0.966), figures.percent(0.0048)) == ("1:03,2", "0,96", "0,5 %")
        assert figures.decimals(1234.5, 1) == "1234,5"


# -- The switch -------------------------------------------------------------------------------------------------------


def choose(client: Client, language: str, path: str = "/"):
    return client.post("/language/", {"language": language, "next": path})


def test_a_guest_switches_and_comes_back_to_the_same_page(client: Client):
    page = client.get("/accounts/login/?next=/analyses/").content.decode()
    assert 'name="next" value="/accounts/login/?next=/analyses/"' in " ".join(page.split())
    assert re.search(r'value="de"\s+lang="de"\s*>Deutsch<', page)
    assert re.search(r'value="en"\s+lang="en"\s+aria-current="true">English<', page)

    answer = choose(client, "de", "/accounts/login/?next=/analyses/")
    assert answer["Location"] == "/accounts/login/?next=/analyses/"
    page = client.get("/accounts/login/").content.decode()
    assert '<html lang="de">' in page
    assert re.search(r'value="de"\s+lang="de"\s+aria-current="true">Deutsch<', page)


def test_the_choice_outranks_the_browsers_and_outlives_signing_in_and_out(client: Client, owner: User):
    choose(client, "de")
    answer = client.post(
        "/accounts/login/", {"login": owner.email, "password": factories.PASSWORD}, headers={"Accept-Language": "en"}
    )
    assert answer.status_code == 302
    assert "Datei prüfen" in client.get("/", headers={"Accept-Language": "en"}).content.decode()
    client.post("/accounts/logout/")
    assert '<html lang="de">' in client.get("/", headers={"Accept-Language": "en"}).content.decode()
    choose(client, "en")
    assert '<html lang="en">' in client.get("/", headers=GERMAN).content.decode()


def test_what_a_post_has_made_leads_back_to_the_start(owner_client: Client):
    page = owner_client.post("/upload/", {"file": factories.uploaded("brief.txt")}).content.decode()
    assert 'name="next" value="/"' in " ".join(page.split())


def test_nobody_is_led_away_by_the_switch(client: Client):
    assert choose(client, "de", "https://elsewhere.example/")["Location"] == "/"
    assert choose(client, "tlh").cookies.get("django_language") is None


def test_the_switch_wants_a_token_and_the_cookie_is_kept_close(settings: LazySettings):
    assert Client(enforce_csrf_checks=True).post("/language/", {"language": "de"}).status_code == 403
    cookie = choose(Client(), "de").cookies["django_language"]
    assert (cookie["httponly"], cookie["samesite"], bool(cookie["secure"])) == (True, "Lax", settings.HTTPS)


def test_a_language_that_we_lack_is_answered_in_english(client: Client):
    assert '<html lang="en">' in client.get("/", headers={"Accept-Language": "fr-CH, fr"}).content.decode()
