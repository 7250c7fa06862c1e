"""Every page held to WCAG 2.2 AA by axe-core, in both themes and at two widths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.conftest import PATIENCE, NewContext, sign_up, upload, upload_one
from tests.e2e.test_result import FOR_EVERYBODY, FOR_USERS

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Each theme once and each width once: contrasts depend on the one, what is shown on the other.
LOOKS = [("light", 1280), ("dark", 390)]


def violations(page: Page) -> list[str]:
    """What axe finds: rule, weight, and where."""
    found = Axe().run(page, options={"runOnly": WCAG}).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {[node['target'] for node in rule['nodes']][:4]}"
        for rule in found
    ]


def pages(page: Page, files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Name and address of every kind of page of a user, made on the way."""
    found = {}
    for name, file in files.items():
        upload_one(page, file)
        expect(page.locator("#verdict, .failed")).to_be_visible(timeout=PATIENCE)
        found[name] = page.url
        yield name, page.url
    yield "delete", found["picture"] + "delete/"
    yield from {**FOR_USERS, "nothing matches": "/analyses/?search=nothing+like+it"}.items()


def test_pages_of_everybody(new_context: NewContext) -> None:
    for scheme, width in LOOKS:
        page = new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
        for name, address in {**FOR_EVERYBODY, "model": "/model/", "privacy": "/privacy/"}.items():
            page.goto(address)
            assert violations(page) == [], f"{name}, {scheme}, {width}"


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_of_users(
    new_context: NewContext, two_people: Path, portrait: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    context = new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page = sign_up(context)
    assert violations(page) == [], "upload, nothing sent yet"
    page.goto("/analyses/")
    assert violations(page) == [], "history, empty"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(two_people.read_bytes()[:30_000])

    for name, address in pages(page, {"broken": broken, "picture": portrait, "video": two_people}):
        page.goto(address)
        assert violations(page) == [], f"{name}, {scheme}, {width}"

    page.goto("/analyses/")
    page.get_by_label("Tick all on this page").check()
    assert violations(page) == [], "history, ticked"
    page.get_by_role("button", name="Delete").click()
    assert violations(page) == [], "delete several"


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_about_tokens(new_context: NewContext, scheme: str, width: int) -> None:
    page = sign_up(new_context(color_scheme=scheme, viewport={"width": width, "height": 900}))
    page.goto("/accounts/tokens/")
    assert violations(page) == [], "none yet"
    page.get_by_label("Name").fill("nightly job")
    page.get_by_role("button", name="Create token").click()
    assert violations(page) == [], "a new one"
    page.get_by_role("link", name="Revoke").click()
    assert violations(page) == [], "revoking"


def test_pages_while_something_runs(new_context: NewContext, long_clip: Path, tmp_path: Path) -> None:
    page = sign_up(new_context(color_scheme="light"))
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear editor,")
    upload(page, long_clip, letter)
    expect(page.locator(".upload-row .badge").first).to_be_visible(timeout=PATIENCE)
    assert violations(page) == [], "upload, several at once"

    upload_one(page, long_clip)
    expect(page.locator("#progress")).to_be_visible()
    assert violations(page) == [], "running"
    page.get_by_role("button", name="Cancel analysis").click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    assert violations(page) == [], "cancelled"
