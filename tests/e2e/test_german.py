"""The site in a German's browser: what the scripts write, the switch, and the room that longer words need."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import PASSWORD, PATIENCE, NewContext, upload
from tests.e2e.test_accessibility import violations

# Whatever reaches over the right edge of the window, or is cut off inside of what does not scroll.
TOO_WIDE = """() => {
  const room = document.documentElement.clientWidth;
  const meant = ".table-scroll, svg, .visually-hidden, .sample-face, thead, #id_file";
  const all = [...document.querySelectorAll("body *")].filter((e) => !e.closest(meant) && e.checkVisibility());
  const isCut = (e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && getComputedStyle(e).overflowX === "hidden";
  return all.filter((e) => e.getBoundingClientRect().right > room + 1 || isCut(e)).map((e) => e.outerHTML.slice(0, 80));
}"""


@pytest.fixture
def german(new_context: NewContext) -> BrowserContext:
    return new_context(locale="de-DE", viewport={"width": 390, "height": 900}, reduced_motion="reduce")


@pytest.fixture
def fits(german: BrowserContext) -> Callable[[Page], None]:
    def check(page: Page) -> None:
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(TOO_WIDE) == [], f"{page.url} at {width}"
        assert violations(page) == [], page.url

    return check


def sign_up_in_german(context: BrowserContext, email: str) -> Page:
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="Konto anlegen").first.click()
    page.get_by_label("E-Mail-Adresse").fill(email)
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.get_by_role("button", name="Konto anlegen").click()
    expect(page.get_by_role("heading", name="Datei prüfen")).to_be_visible()
    return page


def test_a_result_in_german_with_what_scripts_write(german: BrowserContext, fits: Callable[[Page], None]) -> None:
    page = sign_up_in_german(german, "leserin@example.org")
    fits(page)
    page.get_by_role("button", name="Verändertes Video prüfen").click(timeout=PATIENCE)  # it is rendered now
    page.wait_for_url(re.compile("/analyses/"))
    expect(page.locator("#verdict")).to_be_visible(timeout=PATIENCE)

    timeline = page.get_by_role("slider", name="Zeitverlauf der Scores")
    expect(timeline).to_have_attribute("aria-valuetext", re.compile(r"^0:0\d,\d, Person 1 Score 0,\d\d$"))
    expect(page.locator("[data-fact=score]")).to_have_text(re.compile(r"^0,\d\d · (Keine|Einige|Deutliche) Anzeichen$"))
    expect(page.locator(".lane-label")).to_have_text(re.compile(r"^Schwelle 0,\d\d$"))
    expect(page.locator("time").first).to_have_text(re.compile(r"^\d\d\.\d\d\.\d{4}, \d\d:\d\d$"))
    fits(page)


def test_files_on_their_way_in_german(german: BrowserContext, fits: Callable[[Page], None], tmp_path: Path) -> None:
    page = sign_up_in_german(german, "absender@example.org")
    letter, empty = tmp_path / "Brief.txt", tmp_path / "leer.mp4"
    broken = tmp_path / "kaputt.mp4"
    letter.write_text("Sehr geehrte Redaktion,")
    empty.touch()
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(5000))
    upload(page, letter, empty, broken)
    expect(page.locator("#uploads-count")).to_have_text("3 von 3 Dateien fertig", timeout=PATIENCE)
    rows = page.locator(".upload-row .upload-state")
    expect(rows.nth(0)).to_contain_text("Dieser Dateityp kann nicht geprüft werden")
    expect(rows.nth(1)).to_have_text("Diese Datei ist leer (0 Bytes).")
    expect(rows.nth(2)).to_contain_text("Das Video ist beschädigt")  # over the socket, out of the worker
    fits(page)
    page.goto("/analyses/")
    page.get_by_label("Alle auf dieser Seite auswählen").check()
    expect(page.locator("#chosen-count")).to_have_text("Ausgewählt: 1")
    fits(page)


def test_the_switch_works_by_keyboard_and_without_scripts(new_context: NewContext) -> None:
    page = new_context(locale="de-DE", java_script_enabled=False).new_page()
    page.goto("/accounts/login/")
    switch = page.get_by_role("form", name="Sprache")
    expect(switch.get_by_role("button", name="Deutsch")).to_have_attribute("aria-current", "true")
    switch.get_by_role("button", name="English").press("Enter")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.get_by_role("form", name="Language").get_by_role("button", name="Deutsch").click()
    expect(page.get_by_role("heading", name="Anmelden")).to_be_visible()
