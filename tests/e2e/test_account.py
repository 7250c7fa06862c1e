"""An account from its first day to its last, in a browser, on a site that wants addresses confirmed."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.accounts.conftest import totp
from tests.e2e.conftest import ARTIFACTS, PASSWORD, NewContext
from tests.e2e.server import Server
from tests.e2e.test_accessibility import violations
from tests.e2e.test_german import TOO_WIDE, sign_up_in_german

EMAIL = "reader@example.org"
PAPER = {"light": "rgb(243, 242, 238)", "dark": "rgb(20, 22, 24)"}


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, VERIFRAME_EMAIL_VERIFICATION="mandatory")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def look() -> Callable[[Page, str], None]:
    """Look at a page on a telephone in the dark and on a desk by day."""

    def at(page: Page, name: str) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        for width, scheme in ((390, "dark"), (1280, "light")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            theme = page.locator("html").get_attribute("data-theme") or scheme
            expect(page.locator("body")).to_have_css("background-color", PAPER[theme])
            assert page.evaluate(TOO_WIDE) == [], f"{name} at {width}"
            assert violations(page) == [], f"{name}, {scheme}"
            page.screenshot(path=ARTIFACTS / f"account-{name}-{width}-{scheme}.png", full_page=True)

    return at


def link_on_the_console(server: Server) -> str:
    """In the next e-mail, which the server prints."""
    assert server.process is not None
    assert server.process.stdout is not None
    for line in server.process.stdout:
        if found := re.search(r"https?://\S+/accounts/\S+", line):
            return found[0]
    raise AssertionError("no e-mail")


def sign_in(page: Page, code: str = "") -> None:
    page.goto("/accounts/login/")
    page.locator("input[type=email]").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    if code:
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Sign in").click()


def prove(page: Page) -> None:
    """Where the password is asked for once more."""
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()


def test_an_account_from_first_to_last(
    new_context: NewContext, strict: Server, look: Callable[[Page, str], None], tmp_path: Path
) -> None:
    page = new_context(site=strict).new_page()

    # The address is confirmed by the link that was sent there.
    page.goto("/accounts/signup/")
    page.locator("input[type=email]").fill(EMAIL)
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Confirm your address")).to_be_visible()
    look(page, "confirm-sent")
    page.goto(link_on_the_console(strict))
    look(page, "confirm")
    page.get_by_role("button", name="Yes, confirm it").click()
    if "/login/" in page.url:
        sign_in(page)
    expect(page.get_by_role("heading", name="Check a file")).to_be_visible()

    # The account page; a theme is kept.
    page.get_by_role("link", name="Account").click()
    look(page, "home")
    page.get_by_label("Colours").select_option("dark")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    look(page, "home-dark")
    page.get_by_role("link", name="E-mail address", exact=True).click()
    look(page, "email")
    page.get_by_role("link", name="Password", exact=True).click()
    look(page, "password")

    # A second factor.
    page.get_by_role("link", name="Second factor", exact=True).click()
    look(page, "factor-off")
    page.get_by_role("link", name="Set up").click()
    look(page, "prove")
    prove(page)
    secret = page.locator("#key").inner_text()
    look(page, "factor-setup")
    page.get_by_label("code").fill(totp(secret))
    page.get_by_role("button", name="Turn it on").click()
    page.goto("/accounts/2fa/recovery-codes/")
    codes = page.locator(".recovery-codes code").all_inner_texts()
    assert len(codes) == 10
    look(page, "recovery-codes")
    page.get_by_role("link", name="Done").click()
    look(page, "factor-on")

    # Another browser, ended from here.
    other = new_context(site=strict).new_page()
    sign_in(other, codes[0])
    expect(other.get_by_role("heading", name="Check a file")).to_be_visible()
    page.goto("/accounts/sessions/")
    look(page, "sessions")
    page.get_by_role("button", name="Sign out all others").click()
    other.goto("/accounts/")
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page.get_by_text("You are signed out everywhere")).to_be_visible()

    # Back in, with a code; everything is taken along.
    page.locator("input[type=email]").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    look(page, "code")
    page.get_by_label("Code").fill(totp(secret))
    page.get_by_role("button", name="Sign in").click()
    page.goto("/accounts/data/")
    prove(page)
    look(page, "data")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download").click()
    started.value.save_as(tmp_path / "data.zip")
    assert EMAIL in zipfile.ZipFile(tmp_path / "data.zip").read("data/account.json").decode()

    # And the end.
    page.goto("/accounts/delete/")
    look(page, "delete")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code").fill(codes[1])
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("Your account and everything in it was deleted.")).to_be_visible()
    assert strict.rows("SELECT email FROM accounts_user") == []
    sign_in(page)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_account_in_german(new_context: NewContext, look: Callable[[Page, str], None]) -> None:
    """Longer words, on the same telephone."""
    page = sign_up_in_german(new_context(locale="de-DE"), "kontoinhaberin@example.org")
    for name in ("", "email", "password/change", "2fa", "sessions", "delete"):
        page.goto(f"/accounts/{name}/".replace("//", "/"))
        look(page, f"de-{name.replace('/', '-') or 'home'}")
    page.goto("/accounts/2fa/totp/activate/")
    look(page, "de-prove")
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Fortsetzen").click()
    look(page, "de-factor-setup")
    page.locator("input[name=code]").fill(totp(page.locator("#key").inner_text()))
    page.get_by_role("button", name="Einschalten").click()
    page.goto("/accounts/2fa/recovery-codes/")
    look(page, "de-recovery-codes")
    page.goto("/accounts/data/")
    look(page, "de-data")
