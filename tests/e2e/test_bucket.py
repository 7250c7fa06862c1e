"""Videos that lie in a bucket: the player is sent there, seeks there, and asks again when its address has run out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests import buckets
from tests.buckets import S3
from tests.e2e.conftest import NewContext, expect_verdict, sign_up, upload_one
from tests.e2e.server import Server
from tests.e2e.test_result import expect_player_at


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with buckets.s3_server() as url:
        yield S3(url)


@pytest.fixture(scope="module")
def site(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("site"), VERIFRAME_FRAMES="8", **s3.settings) as server:
        yield server


def seek(page: Page, time: float) -> None:
    page.locator("#video").evaluate("(video, time) => { video.currentTime = time; }", time)


def test_the_player_seeks_and_asks_for_another_address(new_context: NewContext, site: Server, s3: S3, long_clip: Path):
    page = sign_up(new_context(site=site))
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if request.url.startswith(s3.url) else None)
    upload_one(page, long_clip)
    expect_verdict(page)
    crop = page.locator("#inspector-picture .face-crop")
    expect(crop).to_have_js_property("complete", value=True)
    assert crop.evaluate("image => image.naturalWidth") > 0
    seek(page, 25)
    expect_player_at(page, 25)
    given = {request.url for request in asked if "source.mp4" in request.url}
    assert given, "the bucket sends it, not we"

    run_out: list[str] = []

    def refuse_once(route: Route) -> None:
        if run_out:
            route.continue_()
        else:
            run_out.append(route.request.url)
            route.fulfill(status=403)

    page.route(lambda url: url.startswith(s3.url) and "source.mp4" in url, refuse_once)
    # What is buffered already is not asked for again, however far one seeks.
    page.locator("#video").evaluate("video => video.load()")
    expect(page.locator("#video")).to_have_attribute("src", re.compile("again="), timeout=30_000)
    assert len(run_out) == 1
    expect(page.locator("#video")).to_have_js_property("readyState", 4, timeout=30_000)
    seek(page, 55)
    expect_player_at(page, 55)
    expect(page.locator("#video-error")).to_be_hidden()
