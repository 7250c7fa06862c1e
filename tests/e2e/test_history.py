"""The history: found again, ticked, deleted, run again; with a mouse, with keys only, without modules."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import PATIENCE, NewContext, sign_up, upload_one

ROWS = "tr[data-row]"


def check_files(page: Page, portrait: Path, folder: Path, *names: str) -> None:
    """Have copies of a picture analysed under these names."""
    for name in names:
        upload_one(page, Path(shutil.copy(portrait, folder / name)))
        expect(page.locator("#verdict, .failed")).to_be_visible(timeout=PATIENCE)


def test_search_tick_save_and_delete(page: Page, portrait: Path, tmp_path: Path) -> None:
    check_files(page, portrait, tmp_path, "anna.jpg", "=ben.jpg", "anna again.jpg")
    page.goto("/analyses/")
    expect(page.locator(f"{ROWS} .thumb img")).to_have_count(3)
    expect(page.get_by_role("button", name="Delete")).to_be_disabled()

    page.get_by_label("Name").fill("anna")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(ROWS)).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save this list as CSV").click()
    text = download.value.path().read_text("utf-8-sig")
    assert [row["name"] for row in csv.DictReader(text.splitlines())] == ["anna again.jpg", "anna.jpg"]

    page.get_by_label("Tick all on this page").check()
    expect(page.locator("#chosen-count")).to_have_text("Ticked: 2")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete these 2 analyses?")).to_be_visible()
    page.get_by_role("link", name="Keep them").click()
    expect(page.get_by_label("Name")).to_have_value("anna")

    page.get_by_label("Tick anna.jpg").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("1 analysis was deleted.")).to_be_visible()
    expect(page.locator(ROWS)).to_have_count(1)


def test_with_keys_only(page: Page, portrait: Path, tmp_path: Path) -> None:
    check_files(page, portrait, tmp_path, "anna.jpg")
    page.goto("/analyses/")
    page.get_by_label("Tick anna.jpg").focus()
    page.keyboard.press("Space")
    for _ in range(4):  # the link, "tick all", then the first button
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "retry":
            break
    page.keyboard.press("Enter")

    expect(page.get_by_text("1 analysis begins anew.")).to_be_visible()
    verdict = re.compile("No signs|Some signs|Strong signs|Cannot tell")
    expect(page.locator(f"{ROWS} .badge")).to_have_text(verdict, timeout=PATIENCE)


@pytest.mark.parametrize("action", ["Run again", "Delete"])
def test_without_modules(new_context: NewContext, page: Page, portrait: Path, tmp_path: Path, action: str) -> None:
    check_files(page, portrait, tmp_path, "anna.jpg", "ben.jpg")
    context = new_context(java_script_enabled=False)
    context.add_cookies(page.context.cookies())  # type: ignore[arg-type]
    plain = context.new_page()
    plain.goto("/analyses/")
    plain.get_by_label("Order").select_option("By name")
    plain.get_by_role("button", name="Show", exact=True).click()
    expect(plain.locator(f"{ROWS} a").first).to_have_text("anna.jpg")

    plain.get_by_label("Tick ben.jpg").check()
    plain.get_by_role("button", name=action).click()

    if action == "Delete":
        plain.get_by_role("button", name="Delete for good").click()
        expect(plain.locator(ROWS)).to_have_count(1)
    else:
        expect(plain.get_by_text("1 analysis begins anew.")).to_be_visible()
    expect(plain.get_by_label("Order")).to_have_value("name")


def test_nothing_there_and_nothing_that_matches(new_context: NewContext) -> None:
    page = sign_up(new_context())
    page.goto("/analyses/")
    page.get_by_role("link", name="Check your first file").click()
    expect(page.get_by_role("heading", name="Check a file")).to_be_visible()
