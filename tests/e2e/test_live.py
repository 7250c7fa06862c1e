"""Somebody uploads a video and watches: whatever happens to the connection, the page ends with the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, WebSocket, WebSocketRoute, expect

from tests.e2e.conftest import NewContext, expect_verdict, sign_up, upload_one
from tests.e2e.server import Server

PERCENT = "#percent"


class Listener:
    """Everything that arrives over a page's WebSockets."""

    def __init__(self, page: Page) -> None:
        self.messages: list[dict[str, Any]] = []
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda text: self.messages.append(json.loads(text)))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


def wait_until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Let the page's events come in until something holds."""
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"waited in vain: {what}")


def half_way(listener: Listener) -> bool:
    return any(0 < message["frames_done"] < message["frames_total"] for message in listener.of("analysis.updated"))


def test_progress_arrives_over_the_websocket_and_the_verdict_without_a_reload(page: Page, long_clip: Path) -> None:
    listener = Listener(page)
    upload_one(page, long_clip)
    page.evaluate("window.sameDocument = true")
    expect(page.locator("#live-curve circle").first).to_be_attached(timeout=60_000)

    verdict = expect_verdict(page)

    assert page.evaluate("window.sameDocument") is True, "the page was loaded anew"
    assert listener.messages[0]["type"] == "analysis.snapshot"
    updates = listener.of("analysis.updated")
    done = [update["frames_done"] for update in updates]
    assert done == sorted(done)
    assert len(set(done)) > 5, "progress came in fewer steps than anyone could watch"
    assert updates[-1]["status"] == "succeeded"
    assert updates[-1]["verdict"] == verdict
    points = [point for scored in listener.of("analysis.scored") for point in scored["points"]]
    assert points
    assert all(0 <= score <= 1 for _, score in points)
    expect(page).to_have_title(f"{page.locator('#verdict-title').inner_text()} – a minute of talk.mp4 – Veriframe")


def test_a_reload_in_the_middle_changes_nothing(page: Page, long_clip: Path, server: Server) -> None:
    listener = Listener(page)
    analysis_id = upload_one(page, long_clip)
    wait_until(page, lambda: half_way(listener), "progress before the reload")
    wait_until(page, lambda: listener.of("analysis.scored"), "scores before the reload: they come in batches")

    page.reload()

    wait_until(page, lambda: len(listener.of("analysis.snapshot")) == 2, "a snapshot for the new page")
    snapshot = listener.of("analysis.snapshot")[1]
    assert snapshot["status"] == "running"
    assert snapshot["points"], "the new page does not get the scores that it missed"
    expect_verdict(page)
    row = server.rows("select status, attempts from detection_analysis where id = ?", analysis_id.replace("-", ""))
    assert row == [("succeeded", 1)]


def test_without_websocket_the_page_polls(new_context: NewContext, long_clip: Path) -> None:
    context = new_context()

    def refuse(socket: WebSocketRoute) -> None:
        socket.close(code=1011, reason="as a proxy without WebSocket would")

    context.route_web_socket("**", refuse)
    page = sign_up(context)
    upload_one(page, long_clip)

    expect(page.locator("#connection")).to_contain_text("asking the server every few seconds", timeout=30_000)
    expect_verdict(page)


def test_a_connection_that_breaks_comes_back(new_context: NewContext, long_clip: Path) -> None:
    context = new_context()
    connections: list[WebSocketRoute] = []

    def break_first(socket: WebSocketRoute) -> None:
        connections.append(socket)
        upstream = socket.connect_to_server()

        def forward(message: str | bytes) -> None:
            socket.send(message)
            if len(connections) == 1:
                socket.close(code=1012, reason="as a restarting proxy would")

        upstream.on_message(forward)

    context.route_web_socket("**", break_first)
    page = sign_up(context)
    upload_one(page, long_clip)

    wait_until(page, lambda: len(connections) >= 2, "a second connection")
    expect_verdict(page)


def test_a_cancelled_analysis_says_so_and_can_be_started_again(page: Page, long_clip: Path) -> None:
    listener = Listener(page)
    upload_one(page, long_clip)
    wait_until(page, lambda: half_way(listener), "progress before the cancellation")

    page.get_by_role("button", name="Cancel analysis").click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()

    page.get_by_role("button", name="Start again").click()
    expect_verdict(page)


def test_a_second_tab_learns_of_the_cancellation(new_context: NewContext, long_clip: Path) -> None:
    context = new_context()
    page = sign_up(context)
    upload_one(page, long_clip)
    tab = context.new_page()
    listener = Listener(tab)
    tab.goto(page.url)
    wait_until(tab, lambda: half_way(listener), "progress in the second tab")

    page.get_by_role("button", name="Cancel analysis").click()

    expect(tab.get_by_role("heading", name="Cancelled")).to_be_visible()


def test_kill_dash_nine_in_the_middle_loses_nothing(new_context: NewContext, long_clip: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, VERIFRAME_FRAMES="200", VERIFRAME_THREADS="1")
    server.start()
    try:
        page = sign_up(new_context(site=server))
        listener = Listener(page)
        analysis_id = upload_one(page, long_clip).replace("-", "")
        wait_until(page, lambda: half_way(listener), "progress before the kill")

        server.kill()
        assert server.rows("select status from detection_analysis") == [("running",)]
        expect(page.locator("#connection")).to_contain_text("does not answer", timeout=60_000)

        server.start()
        expect_verdict(page)  # the page that was open all the time
        query = "select id, status, attempts from detection_analysis"
        assert server.rows(query) == [(analysis_id, "succeeded", 2)]
        tracks = "select analysis_id, number, count(*) from detection_facetrack group by 1, 2 having count(*) > 1"
        assert server.rows(tracks) == [], "the two attempts left their findings twice"
    finally:
        server.stop()
