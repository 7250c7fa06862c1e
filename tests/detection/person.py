"""Somebody who uses a running server over HTTP, without a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

from tests.e2e.server import Server

PASSWORD = "a quiet river 7"
PATIENCE = 120  # seconds for an analysis on a busy machine


class Person:
    """Somebody who has just signed up."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=60, headers={"Accept": "application/json"})
        page = self.http.get("/accounts/signup/", headers={"Accept": "text/html"}).text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        email = f"person{time.monotonic_ns()}@example.org"
        data = {"csrfmiddlewaretoken": token, "email": email, "password1": PASSWORD, "password2": PASSWORD}
        answer = self.http.post("/accounts/signup/", data=data, headers={"Accept": "text/html"})
        assert answer.status_code == 302, answer.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def post(self, name: str, content: bytes, **fields: str) -> httpx.Response:
        """Send a file and other fields of the form; the answer may be a refusal."""
        headers = {"X-CSRFToken": self.http.cookies["csrftoken"]}
        return self.http.post("/api/v1/analyses/", files={"file": (name, content)}, data=fields, headers=headers)

    def upload(self, path: Path) -> dict[str, Any]:
        """Send a file that is taken."""
        answer = self.post(path.name, path.read_bytes())
        assert answer.status_code == 202, answer.text
        return answer.json()

    def look(self, analysis_id: str) -> dict[str, Any]:
        return self.http.get(f"/api/v1/analyses/{analysis_id}/").raise_for_status().json()

    def wait(self, analysis_id: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Poll until ``until`` says that this is it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.look(analysis_id)
            if until(found):
                return found
            time.sleep(0.05)
        raise AssertionError(
            f"waited in vain; it stands at {found['status']} {found['progress']}\n{self.server.log.read_text()[-3000:]}"
        )

    def send(self, path: str, **options: Any) -> httpx.Response:
        """POST something else than a file."""
        return self.http.post(path, headers={"X-CSRFToken": self.http.cookies["csrftoken"]}, **options)

    def make_token(self) -> str:
        """An API token of this person's."""
        answer = self.send("/api/v1/tokens/", json={"name": "tests"})
        assert answer.status_code == 201, answer.text
        return answer.json()["key"]

    def history(self) -> list[dict[str, Any]]:
        return self.http.get("/api/v1/analyses/").raise_for_status().json()["results"]

    def wait_for(self, look: Callable[[], Any]) -> Any:
        """Look again and again until there is something."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := look():
                return found
            time.sleep(0.05)
        raise AssertionError(f"waited in vain\n{self.server.log.read_text()[-3000:]}")

    def cookies(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())


def ended(analysis: dict[str, Any]) -> bool:
    return analysis["status"] in ("succeeded", "failed", "cancelled")


def at_work(analysis: dict[str, Any]) -> bool:
    assert not ended(analysis), f"it ended before the test could step in: {analysis}"
    return analysis["progress"]["frames_done"] > 0
