"""Webhooks in the account area, in a browser: at both widths and in both themes nothing is cut off or unreadable."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ARTIFACTS, NewContext, sign_up, upload_one
from tests.e2e.test_accessibility import LOOKS, violations

ADDRESS = "https://hooks.example.org/veriframe/" + "a-rather-long-path-" * 4


def shoot(page: Page, name: str, width: int) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"webhooks-{name}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the window"
    assert violations(page) == [], name


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_a_webhook_is_added_told_paused_and_deleted(new_context: NewContext, portrait, scheme: str, width: int) -> None:
    context = new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page = sign_up(context)
    page.goto("/accounts/webhooks/")
    page.get_by_label("Address").fill("http://127.0.0.1:9000/")
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_text("private network")).to_be_visible()
    shoot(page, "refused", width)

    page.get_by_label("Address").fill(ADDRESS)
    page.get_by_role("button", name="Add webhook").click()
    secret = page.locator("#secret")
    expect(secret).to_have_text(re.compile(r"^whsec_"))
    shoot(page, "new", width)
    page.reload()
    expect(secret).to_have_count(0)

    upload_one(page, portrait)
    expect(page.locator("#verdict")).to_be_visible(timeout=120_000)
    page.goto("/accounts/webhooks/")
    shoot(page, "list", width)
    page.get_by_role("link", name="Open the webhook").click()
    expect(page.get_by_text("next try")).to_be_visible(timeout=30_000)  # there is no such host
    shoot(page, "log", width)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("You paused it.")).to_be_visible()
    shoot(page, "paused", width)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("You paused it.")).to_have_count(0)
    page.goto("/accounts/webhooks/deliveries/")
    shoot(page, "everything", width)
    page.get_by_role("link", name="Webhooks").first.click()
    page.get_by_role("link", name="Open the webhook").click()
    page.get_by_role("link", name="Delete").click()
    shoot(page, "delete", width)
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("The webhook was deleted.")).to_be_visible()
