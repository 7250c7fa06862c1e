"""What can be sent, what is refused, and what happens without modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import PASSWORD, PATIENCE, NewContext, expect_verdict, sign_up, upload, upload_one
from tests.e2e.server import Server

ANY_VERDICT = re.compile("No signs|Some signs|Strong signs|Cannot tell")


def row(page: Page, name: str) -> Locator:
    return page.locator(".upload-row").filter(has=page.get_by_text(name, exact=True))


def test_several_files_at_once_each_with_its_own_fate(page: Page, clip: Path, portrait: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear editor,")
    disguised = tmp_path / "disguised.mp4"
    disguised.write_text("This is no video. " * 50)

    upload(page, clip, portrait, empty, letter, disguised)

    expect(row(page, "empty.mp4")).to_contain_text("empty")
    expect(row(page, "letter.txt")).to_contain_text("cannot be checked")
    expect(row(page, "disguised.mp4")).to_have_attribute("data-state", "refused")
    for name in (clip.name, portrait.name):
        expect(row(page, name).locator(".badge")).to_have_text(ANY_VERDICT, timeout=PATIENCE)
    assert page.url.endswith("/"), "with several files the upload page stays"
    page.get_by_role("link", name="History").click()
    expect(page.locator("tr[data-row]")).to_have_count(2)


def test_an_image_is_judged_too(page: Page, portrait: Path) -> None:
    upload_one(page, portrait)

    verdict = expect_verdict(page)

    picture = page.locator("#picture")
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True)  # visible, in its box, before its bytes are there
    assert picture.evaluate("image => image.naturalWidth") > 0
    if verdict != "inconclusive":
        expect(page.locator("#overlay .face-box")).to_have_count(1)
        expect(page.locator("#inspector-body")).to_be_visible()


def test_a_file_that_is_dropped_is_taken(page: Page, portrait: Path) -> None:
    page.goto("/")
    dropped = page.evaluate_handle(
        """async ([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
            return transfer;
        }""",
        [portrait.name, list(portrait.read_bytes())],
    )
    page.dispatch_event("#dropzone", "drop", {"dataTransfer": dropped})

    page.wait_for_url(re.compile("/analyses/"))
    expect_verdict(page)


def test_a_broken_video_gets_a_code_and_advice(page: Page, clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:30_000])

    upload_one(page, broken)

    expect(page.get_by_role("heading", name="This file could not be analysed")).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".failed code")).to_have_text("unreadable_media")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_without_modules_everything_can_be_read(new_context: NewContext, clip: Path) -> None:
    page = sign_up(new_context(java_script_enabled=False))
    page.locator("input[type=file]").set_input_files(str(clip))
    page.get_by_role("button", name="Send and check").click()

    page.wait_for_url(re.compile("/analyses/"))
    for _ in range(120):
        if page.locator("#verdict").count():
            break
        page.wait_for_timeout(1000)
        page.reload()

    expect(page.locator("#verdict-title")).to_have_text(re.compile(r"\w"))
    expect(page.locator(".track")).not_to_have_count(0)
    expect(page.locator("video")).to_be_visible()
    expect(page.locator("#timeline")).to_be_hidden()


def test_without_modules_a_refusal_is_said_in_the_form(new_context: NewContext, tmp_path: Path) -> None:
    page = sign_up(new_context(java_script_enabled=False))
    empty = tmp_path / "empty.mp4"
    empty.touch()
    page.locator("input[type=file]").set_input_files(str(empty))
    page.get_by_role("button", name="Send and check").click()

    expect(page.get_by_role("alert")).to_contain_text("empty")


def test_a_sample_for_those_who_have_no_file(page: Page) -> None:
    expect(page.get_by_text("they prove nothing")).to_be_visible()
    page.get_by_role("button", name="Check the changed video").click()

    page.wait_for_url(re.compile("/analyses/"))
    assert expect_verdict(page) != "inconclusive"
    expect(page.get_by_role("heading", name="astronaut-changed-pan.mp4")).to_be_visible()


def test_delete_asks_first_and_then_really_deletes(page: Page, portrait: Path) -> None:
    upload_one(page, portrait)
    expect_verdict(page)
    address = page.url

    page.get_by_role("link", name="Delete").click()
    page.get_by_role("link", name="Keep it").click()
    expect(page).to_have_url(address)
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete for good").click()

    expect(page.get_by_role("heading", name="Nothing checked yet")).to_be_visible()
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["modules", "no modules"])
def test_sign_up_sign_out_sign_in(new_context: NewContext, server: Server, scripts: bool) -> None:
    page = sign_up(new_context(java_script_enabled=scripts))
    ((address,),) = server.rows("SELECT email FROM accounts_user ORDER BY id DESC LIMIT 1")
    page.goto("/accounts/email/")
    expect(page.locator("main")).to_contain_text(address)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in").first).to_be_visible()
    page.get_by_role("link", name="Sign in").first.click()
    page.locator("input[type=email]").fill(address)
    page.locator("input[type=password]").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not correct")

    page.locator("input[type=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Check a file")).to_be_visible()


# -- Several at once --------------------------------------------------------------------------------------------------

# What a page in a background tab would see, and a note of every notification that it shows.
IN_THE_BACKGROUND = """
Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
window.shown = [];
const Original = window.Notification;
window.Notification = class extends Original {
  constructor(title, options) { super(title, options); window.shown.push(title); }
};
"""


def test_title_and_notification_tell_of_a_batch(new_context: NewContext, portrait: Path, tmp_path: Path) -> None:
    context = new_context()
    context.grant_permissions(["notifications"])
    page = sign_up(context)
    page.add_init_script(IN_THE_BACKGROUND)
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear editor,")
    others = [tmp_path / "anna.jpg", tmp_path / "ben.jpg"]
    for other in others:
        other.write_bytes(portrait.read_bytes())
    page.goto("/")
    page.locator("input[type=file]").set_input_files([str(file) for file in (letter, letter)])
    page.get_by_role("button", name="Tell me when it is done").click()
    expect(page.get_by_role("button", name="You will be told")).to_have_attribute("aria-pressed", "true")

    page.locator("input[type=file]").set_input_files([str(other) for other in others])

    expect(page).to_have_title("4 of 4 done – Veriframe", timeout=PATIENCE)
    expect(page.locator("#uploads-count")).to_have_text("4 of 4 files done")
    shown = page.evaluate("window.shown")
    assert sorted(title.split(" of ")[1].split(" has ")[0] for title in shown) == ["anna.jpg", "ben.jpg"]


def test_a_batch_outlives_reload_second_tab_and_kill(new_context: NewContext, clip: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, VERIFRAME_FRAMES="100", VERIFRAME_THREADS="1")
    server.start()
    try:
        context = new_context(site=server)
        page = sign_up(context)
        names = [f"{number}.mp4" for number in range(3)]
        files = [tmp_path / name for name in names]
        for file in files:
            file.write_bytes(clip.read_bytes())
        upload(page, *files)
        for name in names:
            expect(row(page, name).locator("[data-action=open]")).to_be_visible(timeout=PATIENCE)
        tab = context.new_page()
        tab.goto("/")  # what a reload of the first would show
        expect(tab.locator("tr[data-row]")).to_have_count(3)

        server.kill()
        for name in names:
            if row(page, name).get_attribute("data-state") not in ("succeeded",):
                expect(row(page, name)).to_have_attribute("data-state", "lost", timeout=60_000)
        server.start()

        for name in names:
            expect(row(page, name).locator(".badge")).to_have_text(ANY_VERDICT, timeout=PATIENCE)
        for badge in tab.locator("tr[data-row] .badge").all():
            expect(badge).to_have_text(ANY_VERDICT, timeout=PATIENCE)
        assert server.rows("select count(*) from detection_analysis where status = 'succeeded'") == [(3,)]
    finally:
        server.stop()
