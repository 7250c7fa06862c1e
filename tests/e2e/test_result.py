"""A finished analysis: player, timeline, frame detail and gallery are one view. And every page looks right."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ARTIFACTS, PATIENCE, NewContext, expect_verdict, sign_up, upload_one

SHOWN_BOX = "#overlay g[visibility=visible] .face-box"


@pytest.fixture
def result(page: Page, clip: Path) -> Page:
    """The finished analysis of a video."""
    upload_one(page, clip)
    expect_verdict(page)
    return page


def report(page: Page) -> dict[str, Any]:
    return json.loads(page.locator("#report").text_content() or "")  # type: ignore[no-any-return]


def seconds(timecode: str) -> float:
    minutes, rest = timecode.split(":")
    return 60 * int(minutes) + float(rest)


def player_time(page: Page) -> float:
    """Where the player stands once it has stopped seeking."""
    video = page.locator("#video")
    # Not wait_for_function(): it polls through eval, which the site's content security policy forbids.
    expect(video).to_have_js_property("seeking", False)
    return float(video.evaluate("video => video.currentTime"))


def expect_player_at(page: Page, time: float) -> None:
    assert player_time(page) == pytest.approx(time, abs=0.06)


def test_keys_step_through_the_timeline_and_player_and_detail_follow(result: Page) -> None:
    timeline = result.get_by_role("slider", name="Timeline of scores")
    times = [frame["time"] for frame in report(result)["result"]["frames"]]
    timeline.focus()

    for key, time in (("Home", times[0]), ("ArrowRight", times[1]), ("End", times[-1]), ("ArrowLeft", times[-2])):
        timeline.press(key)
        expect(timeline).to_have_attribute("aria-valuenow", f"{time:.2f}")
        expect_player_at(result, time)
        assert seconds(result.locator("[data-fact=time]").inner_text()) == pytest.approx(time, abs=0.051)
        expect(result.locator(SHOWN_BOX)).not_to_have_count(0)

    expect(timeline).to_have_attribute("aria-valuetext", re.compile(r"Person 1 score 0\.\d\d"))


def test_a_click_into_the_timeline_moves_the_player(result: Page) -> None:
    timeline = result.locator("#timeline")
    area = timeline.bounding_box()
    assert area is not None

    timeline.click(position={"x": area["width"] * 0.75, "y": 20})

    duration = report(result)["media"]["duration"]
    assert player_time(result) == pytest.approx(duration * 0.75, rel=0.1)


def test_boxes_move_while_the_video_plays_and_can_be_switched_off(result: Page) -> None:
    result.locator("#timeline").press("Home")
    before = result.locator(SHOWN_BOX).first.get_attribute("d")
    result.evaluate("document.getElementById('video').muted = true")
    result.evaluate("document.getElementById('video').play()")

    expect(result.locator(SHOWN_BOX).first).not_to_have_attribute("d", before or "")
    result.get_by_label("Face boxes").uncheck()
    expect(result.locator("#overlay")).to_be_hidden()


def test_a_flagged_frame_opens_in_player_and_detail(result: Page) -> None:
    flagged = [
        (face["score"], frame["time"])
        for frame in report(result)["result"]["frames"]
        for face in frame["faces"]
        if face["flagged"]
    ]
    cards = result.locator(".face-card")
    expect(cards).to_have_count(len(flagged))
    if not flagged:
        pytest.skip("this model flags nothing in this clip")
    scores = [float(text) for text in result.locator(".face-score").all_inner_texts() if text]
    assert scores == sorted(scores, reverse=True), "the worst frame does not come first"

    card = cards.nth(min(3, len(flagged) - 1))
    card.click()

    expect(card).to_have_attribute("aria-current", "true")
    expect_player_at(result, seconds(card.locator(".figure").last.inner_text()))
    for picture in (".face-crop", ".face-heat"):
        shown = result.locator(f"#inspector {picture}")
        expect(shown).to_have_js_property("complete", True)
        assert shown.evaluate("image => image.naturalWidth") > 0
    result.locator("#heat-opacity").fill("0")
    expect(result.locator("#inspector .face-heat")).to_have_css("opacity", "0")


def test_the_next_flagged_button_goes_on_in_time(result: Page) -> None:
    frames = report(result)["result"]["frames"]
    flagged = [frame["time"] for frame in frames if any(face["flagged"] for face in frame["faces"])]
    button = result.get_by_role("button", name="Next flagged")
    if not flagged:
        expect(button).to_be_disabled()
        return
    timeline = result.locator("#timeline")
    timeline.press("Home")
    after_start = [time for time in flagged if time > frames[0]["time"]]
    for time in [*after_start, flagged[0]][:3]:  # goes round after the last one
        button.click()
        expect(timeline).to_have_attribute("aria-valuenow", f"{time:.2f}")


# -- Looks ------------------------------------------------------------------------------------------------------------

FOR_EVERYBODY = {
    "landing": "/",
    "sign-in": "/accounts/login/",
    "sign-up": "/accounts/signup/",
    "reset-password": "/accounts/password/reset/",
}
FOR_USERS = {
    "upload": "/",
    "history": "/analyses/",
    "password": "/accounts/password/change/",
    "email": "/accounts/email/",
    "sign-out": "/accounts/logout/",
    "not-found": "/nothing/",
}


@pytest.fixture
def addresses(page: Page, clip: Path, portrait: Path, tmp_path: Path) -> dict[str, str]:
    """One address for every kind of page that a user sees; the cookies are those of ``page``."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:30_000])
    found = dict(FOR_USERS)
    for name, file in (("failed", broken), ("image", portrait), ("video", clip)):
        upload_one(page, file)
        expect(page.locator("#verdict, .failed")).to_be_visible(timeout=PATIENCE)
        found[name] = page.url
    found["delete"] = found["video"] + "delete/"
    return found


def test_no_page_scrolls_sideways(new_context: NewContext, page: Page, addresses: dict[str, str]) -> None:
    look(sign_up(new_context()), "history-empty", "/analyses/", "as-it-comes")
    for scheme, width in itertools.product(("light", "dark"), (390, 768, 1280, 1920)):
        context = new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
        tab = context.new_page()
        for name, address in FOR_EVERYBODY.items():
            look(tab, name, address, f"{width}-{scheme}")
        context.add_cookies(page.context.cookies())  # type: ignore[arg-type]
        for name, address in addresses.items():
            look(tab, name, address, f"{width}-{scheme}")
        context.close()


def look(page: Page, name: str, address: str, how: str) -> None:
    """Open a page, hold it to its width, and keep a picture for people to look at."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert beyond <= 0, f"{name} ({how}) is {beyond} px too wide"
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}-{how}.png", full_page=True)
