"""What people do about programs: tokens on their account page, Swagger; and a batch that is too fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from tests import factories
from tests.e2e.conftest import ARTIFACTS, sign_up, upload
from tests.e2e.server import Server


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes one upload a second."""
    with Server(tmp_path_factory.mktemp("hasty"), VERIFRAME_LIMIT_UPLOADS="1/s") as server:
        yield server


@pytest.mark.parametrize("width", [390, 1280])
def test_a_token_is_made_used_and_revoked_without_javascript(
    new_context: Callable[..., BrowserContext], hasty: Server, width: int
):
    context = new_context(site=hasty, java_script_enabled=False, viewport={"width": width, "height": 900})
    page = sign_up(context)
    page.get_by_role("link", name="Account").click()
    page.get_by_role("link", name="API tokens", exact=True).click()
    page.get_by_label("Name").fill("nightly job")
    page.get_by_role("button", name="Create token").click()
    key = page.locator("#token-key").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"tokens-{width}.png", full_page=True)
    me = {"Authorization": f"Token {key}"}
    assert httpx.get(f"{hasty.url}/api/v1/me/", headers=me).json()["token"]["name"] == "nightly job"
    page.goto("/accounts/tokens/")
    assert key not in page.content()
    expect(page.get_by_text("nightly job")).to_be_visible()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("was revoked")).to_be_visible()
    assert httpx.get(f"{hasty.url}/api/v1/me/", headers=me).status_code == 401


@pytest.mark.parametrize("width", [390, 1280])
def test_swagger_comes_from_this_server_and_within_its_policy(
    new_context: Callable[..., BrowserContext], hasty: Server, width: int
):
    """`new_context` fails the test if the browser complains about the policy."""
    page = new_context(site=hasty, viewport={"width": width, "height": 900}).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/api/docs/")
    expect(page.get_by_text("/api/v1/analyses/", exact=True).first).to_be_visible()
    page.screenshot(path=ARTIFACTS / f"swagger-{width}.png")
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {f"127.0.0.1:{hasty.port}"}
    page.locator("#operations-service-health .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator("#operations-service-health .live-responses-table")).to_contain_text('"ok"')


def test_a_batch_that_is_too_fast_goes_on_by_itself(
    new_context: Callable[..., BrowserContext], hasty: Server, tmp_path: Path
):
    page = sign_up(new_context(site=hasty))
    files = []
    for number in range(3):
        file = tmp_path / f"{number}.jpg"
        file.write_bytes(factories.jpeg((64 + number, 64)))
        files.append(file)
    limited: list[str] = []
    page.on("response", lambda response: limited.append(response.url) if response.status == 429 else None)
    upload(page, *files)
    expect(page.locator("#uploads li[data-state=succeeded]")).to_have_count(3, timeout=120_000)
    assert limited, "it was not too fast at all"
