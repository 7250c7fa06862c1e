"""Browser, server, media and people for the end-to-end tests."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.server import Server

ARTIFACTS = Path(__file__).parent / "artifacts"  # screenshots; git ignores it
CHROMIUM = "/usr/bin/chromium"
PATIENCE = 120_000  # ms; how long an analysis may take on a busy machine
PASSWORD = "correct-horse-battery-staple"
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in item.nodeid:
            item.add_marker(pytest.mark.e2e)


# Package scope, not session: while Playwright's synchronous API is alive an event loop runs in this thread, which
# tests of other packages (asyncio, the ORM) would trip over.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or CHROMIUM
    if not Path(executable).exists():
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not kill it. Many frames: an analysis lasts long enough to be watched."""
    with Server(tmp_path_factory.mktemp("server"), VERIFRAME_FRAMES="200", VERIFRAME_THREADS="1") as server:
        yield server


class Complaints:
    """What the browser found wrong with a page: script errors and breaches of the content security policy."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.found.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._heard(page, message.type, message.text))

    def _heard(self, page: Page, kind: str, text: str) -> None:
        if kind == "error" and "Content Security Policy" in text:
            self.found.append(f"{page.url}: {text}")


NewContext = Callable[..., BrowserContext]


@pytest.fixture
def new_context(browser: Browser, server: Server) -> Iterator[NewContext]:
    """Makes browser contexts (each with its own cookies) for the shared server; nothing in them may complain."""
    contexts: list[BrowserContext] = []
    complaints = Complaints()

    def make(*, site: Server = server, **options: object) -> BrowserContext:
        context = browser.new_context(**{"base_url": site.url, "locale": "en-GB", **options})  # type: ignore[arg-type]
        context.set_default_timeout(30_000)
        context.on("page", complaints.watch)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert complaints.found == []


def sign_up(context: BrowserContext) -> Page:
    """A new user with an address of one's own, signed in, on the upload page."""
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Email", exact=False).first.fill(f"user{next(_numbers)}@example.org")
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Check a file")).to_be_visible()
    return page


@pytest.fixture
def page(new_context: NewContext) -> Page:
    """A page of a user who has just signed up."""
    return sign_up(new_context())


# -- Media ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def clip(shared_data: Path) -> Path:
    """Six seconds of a real person, manipulated."""
    return shared_data / "clips/val/deepfakes/035_036.mp4"


@pytest.fixture(scope="session")
def long_clip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same ten times over: long enough to do something in the middle of its analysis."""
    path = tmp_path_factory.mktemp("media") / "a minute of talk.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-stream_loop", "9", "-i", str(clip), "-c", "copy", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.fixture(scope="session")
def two_people(clip: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real persons side by side, the left one manipulated."""
    path = tmp_path_factory.mktemp("media") / "two people.mp4"
    real = sorted((shared_data / "clips/val/real").glob("*.mp4"))[1]
    side_by_side = "[0:v]scale=-2:480[a];[1:v]scale=-2:480[b];[a][b]hstack=inputs=2:shortest=1"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(clip), "-i", str(real), "-filter_complex", side_by_side]
    subprocess.run([*command, "-an", str(path)], check=True, timeout=120)
    return path


@pytest.fixture(scope="session")
def group_picture(two_people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with two faces."""
    path = tmp_path_factory.mktemp("media") / "two people.jpg"
    with av.open(str(two_people)) as container:
        next(container.decode(video=0)).to_image().save(path, quality=95)
    return path


@pytest.fixture(scope="session")
def portrait(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with a face: the clip's first frame."""
    path = tmp_path_factory.mktemp("media") / "portrait.jpg"
    with av.open(str(clip)) as container:
        next(container.decode(video=0)).to_image().save(path, quality=95)
    return path


# -- What tests do again and again ------------------------------------------------------------------------------------

VERDICTS = re.compile(r"^(authentic|suspicious|manipulated|inconclusive)$")


def upload(page: Page, *files: Path) -> None:
    """Choose files on the upload page, as the file dialogue would."""
    page.goto("/")
    page.locator("input[type=file]").set_input_files([str(file) for file in files])


def upload_one(page: Page, file: Path) -> str:
    """Upload one file; returns the analysis' id once its page is open."""
    upload(page, file)
    page.wait_for_url(re.compile(r"/analyses/[0-9a-f-]{36}/$"))
    return page.url.rstrip("/").rsplit("/", 1)[1]


def expect_verdict(page: Page) -> str:
    """Wait for the result; returns the verdict's word."""
    verdict = page.locator("#verdict")
    expect(verdict).to_have_attribute("data-verdict", VERDICTS, timeout=PATIENCE)
    return verdict.get_attribute("data-verdict") or ""
