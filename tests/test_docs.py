"""The README's tables are held to the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from config.env import env_example, markdown_table
from config.settings import env
from detection.engine.errors import ErrorCode
from detection.engine.registry import find_model
from detection.engine.types import ReasonCode
from detection.problems import STATUS_BY_CODE

ROOT = Path(settings.BASE_DIR)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The README's text under the heading ``title``, up to the next heading."""
    return re.split(r"^#+ .*$", README.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def codes(text: str) -> set[str]:
    """First cells of a table's rows."""
    return set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))


def test_the_settings_table_is_the_one_that_the_code_makes():
    table = README.split("<!-- settings: manage.py settings_table -->\n")[1].split("<!-- end of settings -->")[0]
    assert table.strip() == markdown_table(env.variables)


def test_env_example_is_the_one_that_the_code_makes():
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example(env.variables)


def test_every_refusal_is_listed_with_its_status():
    text = section("A request is refused")
    assert codes(text) == set(STATUS_BY_CODE)
    for code, status in STATUS_BY_CODE.items():
        assert f"| `{code}` | {status} |" in text


def test_every_failure_is_listed():
    assert codes(section("An analysis failed")) == set(ErrorCode)


def test_every_reason_is_listed_or_said_to_be_reserved():
    text = section("A verdict is inconclusive")
    reserved = {ReasonCode.HEADS_DISAGREE}
    assert codes(text) == set(ReasonCode) - reserved
    for code in reserved:
        assert f"`{code}`" in text


def test_the_accuracy_figures_are_those_of_the_shipped_model():
    text = section("How well it works, and where it fails")
    spec = find_model()
    assert f"`{spec.sha256[:12]}`" in text
    for origin, (auc, low, high) in spec.metrics["validation_auc"].items():
        assert re.search(rf"\| {re.escape(origin)} \|.*\| {auc:.3f} \| {low:.3f} to {high:.3f} \|", text)


def test_what_the_readme_points_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


@pytest.mark.parametrize("command", ["make run", "make test", "make lint", "make worker"])
def test_the_commands_exist(command):
    assert command in README
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{command.removeprefix('make ')}:", makefile, flags=re.MULTILINE)


def test_every_requirement_is_pinned_and_says_why():
    for name in ("requirements.txt", "requirements-training.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith(("#", "-r")):
                assert "==" in line, line
                if name == "requirements.txt":
                    assert " # " in line, line
