"""From "this is wrong" to the reviewers' word, in a browser: by mouse, by keys, on a phone, and held to WCAG."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import ARTIFACTS, NewContext, expect_verdict, sign_up, upload_one
from tests.e2e.server import Server
from tests.e2e.test_accessibility import violations

QUEUE = "/admin/detection/queuedanalysis/"


def reviewer_in(context: BrowserContext, server: Server) -> Page:
    """Somebody who signed up and was made a reviewer."""
    page = sign_up(context)
    page.goto("/")
    ((email,),) = server.rows("SELECT email FROM accounts_user ORDER BY id DESC LIMIT 1")
    server.manage("set_role", email, "reviewer")
    return page


def sent(page: Page, portrait: Path) -> str:
    """Address of a result of this user's."""
    upload_one(page, portrait)
    expect_verdict(page)
    return page.url


def objected(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="This is wrong").click()
    page.get_by_label("Something else").check()
    page.get_by_label("How do you know?").fill("The same picture is in my passport.")
    page.get_by_role("button", name="Ask for a second look").click()
    expect(page.get_by_text("A reviewer will look at it", exact=True)).to_be_visible()


def test_a_user_objects_and_two_reviewers_answer(new_context: NewContext, server: Server, portrait: Path) -> None:
    user = sign_up(new_context())
    address = sent(user, portrait)
    objected(user, address)
    assert violations(user) == []
    user.screenshot(path=ARTIFACTS / "review-objected.png", full_page=True)

    for number in (1, 2):
        reviewer = reviewer_in(new_context(), server)
        reviewer.goto(f"{QUEUE}?disputed=yes")
        reviewer.screenshot(path=ARTIFACTS / "review-queue.png")
        reviewer.goto(f"{QUEUE}{address.rstrip('/').rsplit('/', 1)[1]}/change/")
        expect(reviewer.get_by_text("The same picture is in my passport.")).to_be_visible()
        expect(reviewer.locator("#inspector-body")).to_be_visible()  # the evidence is linked as on the user's page
        assert violations(reviewer) == []
        reviewer.keyboard.press("t")
        expect(reviewer.get_by_role("radio", name="Cannot tell")).to_be_checked()
        reviewer.keyboard.press("Escape")
        expect(reviewer.get_by_role("radio", name="Cannot tell")).not_to_be_checked()
        assert server.rows("SELECT count(*) FROM detection_review")[0][0] == number - 1, (
            "nothing is stored before Enter"
        )
        reviewer.get_by_label("Answer to the user").fill("We see a filter.")  # keys are letters here
        reviewer.get_by_label("Note for other reviewers").click()
        reviewer.keyboard.type("tt")
        expect(reviewer.get_by_role("radio", name="Cannot tell")).not_to_be_checked()
        reviewer.get_by_role("heading", name="Your verdict").click()
        reviewer.keyboard.press("t")
        reviewer.keyboard.press("Enter")
        expect(reviewer.get_by_text(f"{portrait.name}: Stored")).to_be_visible()

    user.goto("/analyses/")
    expect(user.get_by_text("New: reviewed")).to_be_visible()
    user.goto(address)
    expect(user.get_by_text("Verdict of a reviewer")).to_be_visible()
    expect(user.get_by_text("We see a filter.")).to_be_visible()
    user.screenshot(path=ARTIFACTS / "review-reviewed.png", full_page=True)
    for width, language in ((390, "Deutsch"), (390, "English")):
        user.set_viewport_size({"width": width, "height": 844})
        user.get_by_role("button", name=language).click()
        assert user.evaluate("document.documentElement.scrollWidth") <= width, language
        user.screenshot(path=ARTIFACTS / f"review-reviewed-{language}.png", full_page=True)
    assert violations(user) == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_how_the_pages_look(
    new_context: NewContext, server: Server, portrait: Path, two_people: Path, scheme: str, width: int
) -> None:
    look = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}, "reduced_motion": "reduce"}
    user = sign_up(new_context(**look))
    address = sent(user, two_people)
    user.goto(address + "dispute/")
    assert violations(user) == []
    user.screenshot(path=ARTIFACTS / f"review-dispute-{width}-{scheme}.png", full_page=True)
    objected(user, address)
    reviewer = reviewer_in(new_context(**look), server)
    case = f"{QUEUE}{address.rstrip('/').rsplit('/', 1)[1]}/change/"
    reviewer.goto(case)
    expect(reviewer.locator("#inspector-body")).to_be_visible()
    assert violations(reviewer) == []
    reviewer.screenshot(path=ARTIFACTS / f"review-case-{width}-{scheme}.png", full_page=True)
    for name, path in {"queue": f"{QUEUE}?state=all", "figures": f"{QUEUE}statistics/"}.items():
        reviewer.goto(path)
        assert reviewer.evaluate("document.documentElement.scrollWidth") <= width + 1 or width < 400, name
        reviewer.screenshot(path=ARTIFACTS / f"review-{name}-{width}-{scheme}.png", full_page=True)
    user.goto(address)
    user.screenshot(path=ARTIFACTS / f"review-result-{width}-{scheme}.png", full_page=True)
