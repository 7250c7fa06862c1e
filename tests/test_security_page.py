"""SECURITY.md says what holds each item; here is what holds SECURITY.md."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings

from config.settings import env

ROOT = Path(settings.BASE_DIR)
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE)))
# Sections of ASVS 5.0.0 and how many requirements each has.
ASVS = {"5.1": 1, "5.2": 6, "5.3": 3, "5.4": 3, "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2}


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_")}


def test_many_are_named():
    assert len(NAMED) > 40


@pytest.mark.parametrize("named", NAMED)
def test_every_test_that_is_named_exists(named: str):
    path, _colons, test = named.partition("::")
    assert (ROOT / path).is_file()
    assert not test or test in names_in(path)


def test_every_item_of_the_chapters_has_a_row():
    rows = re.findall(r"^\| (\d\.\d\.\d) \|", PAGE, flags=re.MULTILINE)
    assert rows == [f"{section}.{number + 1}" for section, many in ASVS.items() for number in range(many)]


def test_every_row_names_a_test_or_says_that_there_is_nothing_to_hold():
    for row in re.findall(r"^\| \d\.\d\.\d \|.*$", PAGE, flags=re.MULTILINE):
        assert "`tests/" in row or "there is none" in row, row


def test_settings_and_files_that_it_speaks_of_are_there():
    known = {variable.name for variable in env.variables}
    assert set(re.findall(r"VERIFRAME_[A-Z_]+", PAGE)) <= known
    for path in re.findall(r"`((?:config|detection)/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).is_file(), path
