"""A file's time is over while its page is open; and it is deleted by hand."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.conftest import PATIENCE, NewContext, sign_up
from tests.e2e.server import Server


def upload(page: Page, file: Path) -> None:
    page.goto("/")
    page.locator("#id_file").set_input_files(file)
    expect(page.locator("#verdict")).to_be_visible(timeout=PATIENCE)


def test_the_page_counts_down_and_then_shows_what_is_left(page: Page, server: Server, two_people: Path) -> None:
    page.goto("/")
    page.get_by_label("Keep the file").select_option("10 minutes after the result")
    page.locator("#id_file").set_input_files(two_people)
    expect(page.locator("#verdict")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("[data-countdown]")).to_have_text("in 9 minutes")
    page.get_by_text("Keep it longer or shorter").click()
    page.locator(".lifetime select").select_option("Delete it as soon as the result is there")
    page.locator(".lifetime").get_by_role("button", name="Save").click()
    # The clean-up comes by every half minute; the page finds out by itself.
    expect(page.locator(".stage-gone")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("video")).to_have_count(0)
    expect(page.locator(".lifetime")).to_contain_text("The file was deleted:")
    assert not [
        file for file in (server.folder / "media").rglob("source.*") if file.parent.name == _upload(server, page)
    ]

    page.get_by_role("button", name="Next flagged").click()  # timeline and faces still work together
    expect(page.locator("#inspector-body")).to_be_visible()
    page.locator("#stage-area").focus()
    page.keyboard.press("n")
    page.keyboard.press("+")
    expect(page.get_by_role("button", name="Run again")).to_have_count(0)
    answer = page.request.get(
        f"{page.url.replace('/analyses/', '/media/')}source", headers={"Accept": "application/json"}
    )
    assert (answer.status, json.loads(answer.text())["code"]) == (410, "media_deleted")


def _upload(server: Server, page: Page) -> str:
    """Id of the upload that the page shows, as its folder is called."""
    analysis = page.url.rstrip("/").rpartition("/")[2].replace("-", "")
    with sqlite3.connect(server.database) as database:
        ((found,),) = database.execute("SELECT upload_id FROM detection_analysis WHERE id = ?", [analysis]).fetchall()
    return f"{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:]}"


def test_a_picture_is_deleted_by_hand(new_context: NewContext, portrait: Path) -> None:
    page = sign_up(new_context(java_script_enabled=False))
    page.locator("#id_file").set_input_files(portrait)
    page.get_by_role("button", name="Send and check").click()
    for _ in range(60):
        if page.locator("#verdict").count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    page.get_by_text("Keep it longer or shorter").click()
    page.get_by_role("link", name="Delete the file now").click()
    page.get_by_role("button", name="Delete the file").click()
    expect(page.get_by_text("The picture was deleted, so it cannot be shown any more.")).to_be_visible()
    page.goto("/accounts/storage/")
    expect(page.get_by_text("Its owner asked for it.")).to_be_visible()
