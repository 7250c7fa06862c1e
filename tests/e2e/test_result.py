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


def expect_player_at(page: Page, time: float, *, off: float = 0.06) -> None:
    assert player_time(page) == pytest.approx(time, abs=off)


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
        if face.get("flagged")
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
        shown = result.locator(f"#inspector-picture {picture}")
        expect(shown).to_have_js_property("complete", True)
        assert shown.evaluate("image => image.naturalWidth") > 0
    result.locator("#heat-opacity").fill("0")
    expect(result.locator("#inspector-picture .face-heat")).to_have_css("opacity", "0")


def test_the_next_flagged_button_goes_on_in_time(result: Page) -> None:
    frames = report(result)["result"]["frames"]
    flagged = [frame["time"] for frame in frames if any(face.get("flagged") for face in frame["faces"])]
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


# -- Several people ----------------------------------------------------------------------------------------------------


def chosen_person(page: Page) -> str:
    return page.locator("[data-fact=person]").inner_text()


def test_each_person_can_be_looked_at_and_hidden(page: Page, two_people: Path) -> None:
    upload_one(page, two_people)
    expect_verdict(page)
    expect(page.locator(".track")).to_have_count(2)
    expect(page.locator(".track .badge")).to_have_count(2)
    expect(page.locator("#timeline .lane-name")).to_have_count(2)

    page.get_by_role("link", name="Look at person 2").click()
    assert chosen_person(page) == "Person 2"
    expect(page.locator(SHOWN_BOX)).to_have_count(2)

    page.get_by_label("Show person 1").uncheck()
    expect(page.locator(SHOWN_BOX)).to_have_count(1)
    expect(page.locator("#timeline .lane-name")).to_have_text("Person 2")
    cards_of_first = page.locator('.face-card[data-track="0"]')
    for number in range(min(3, cards_of_first.count())):
        expect(cards_of_first.nth(number)).to_be_hidden()
    page.locator("#timeline").press("End")
    assert chosen_person(page) == "Person 2"

    page.get_by_label("Show person 1").check()
    expect(page.locator("#timeline .lane-name")).to_have_count(2)


def test_keys_on_the_player(page: Page, two_people: Path) -> None:
    upload_one(page, two_people)
    expect_verdict(page)
    stage = page.locator("#stage-area")
    stage.focus()

    page.keyboard.press("+")
    expect(stage).to_have_attribute("data-zoom", "1.5")
    page.keyboard.press("+")
    page.keyboard.press("-")
    expect(stage).to_have_attribute("data-zoom", "1.5")
    page.keyboard.press("0")
    expect(stage).to_have_attribute("data-zoom", "1")

    frames = report(page)["result"]["frames"]
    flagged = [frame["time"] for frame in frames if any(face.get("flagged") for face in frame["faces"])]
    page.locator("#timeline").press("Home")
    stage.focus()
    if len(flagged) > 2:
        now = frames[0]["time"]
        for _ in range(2):
            page.keyboard.press("n")
            now = next(time for time in flagged if time > now)
            expect_player_at(page, now)
        page.keyboard.press("p")
        expect_player_at(page, max(time for time in flagged if time < now))

    page.evaluate("document.getElementById('video').muted = true")
    page.keyboard.press("Space")
    expect(page.locator("#video")).to_have_js_property("paused", False)
    page.keyboard.press("Space")
    expect(page.locator("#video")).to_have_js_property("paused", True)

    page.locator("#heat-opacity").focus()  # elsewhere the same keys mean what they always mean
    page.keyboard.press("+")
    expect(stage).to_have_attribute("data-zoom", "1")


def test_zoom_keeps_the_face_in_sight(result: Page) -> None:
    result.get_by_role("button", name="Zoom in").click()
    result.get_by_role("button", name="Zoom in").click()
    stage, face = result.locator("#stage-area").bounding_box(), result.locator(SHOWN_BOX).first.bounding_box()
    assert stage is not None
    assert face is not None
    middle = (face["x"] + face["width"] / 2, face["y"] + face["height"] / 2)
    assert stage["x"] < middle[0] < stage["x"] + stage["width"]
    assert stage["y"] < middle[1] < stage["y"] + stage["height"]


def test_the_frames_just_before_and_after(result: Page) -> None:
    strip = result.locator("#neighbours button")
    expect(strip).to_have_count(5)
    names = [name or "" for name in (strip.nth(i).get_attribute("aria-label") for i in range(5))]
    times = [seconds(name.split(",")[0]) for name in names]
    assert times == sorted(times)

    strip.nth(4).click()

    expect_player_at(result, times[4], off=0.11)  # the label has tenths only
    expect(result.locator("#neighbours [aria-current]")).to_have_attribute("aria-label", names[4])


def test_several_faces_in_a_picture(page: Page, group_picture: Path) -> None:
    upload_one(page, group_picture)
    expect_verdict(page)
    expect(page.locator(SHOWN_BOX)).to_have_count(2)
    page.get_by_role("link", name="Look at person 2").click()
    assert chosen_person(page) == "Person 2"
    page.keyboard.press("n")  # the link gave the focus to the picture
    assert chosen_person(page) == "Person 1"
    page.get_by_label("Show person 2").uncheck()
    expect(page.locator(SHOWN_BOX)).to_have_count(1)


def test_printed_it_is_a_report(result: Page) -> None:
    result.emulate_media(media="print", color_scheme="dark")
    expect(result.locator(".viewer")).to_be_hidden()
    expect(result.get_by_role("link", name="Report (PDF)")).to_be_hidden()
    expect(result.locator("#verdict")).to_be_visible()
    expect(result.locator(".facts")).to_be_visible()
    expect(result.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(result.locator("#verdict")).to_have_css("background-color", "rgb(255, 254, 251)")


def test_the_report_can_be_saved(result: Page) -> None:
    for name, start in (("Report (PDF)", b"%PDF-"), ("JSON", b"{")):
        with result.expect_download() as download:
            result.get_by_role("link", name=name).click()
        assert download.value.path().read_bytes().startswith(start)


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
    "model": "/model/",
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
