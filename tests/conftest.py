"""Fixtures that every test package shares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from tests.e2e.server import NO_LIMITS

# Before anything reads the settings: tests run with the defaults, not with what this machine is configured for.
for _name in [n for n in os.environ if n.startswith("VERIFRAME_") and n != "VERIFRAME_REQUIRE_ALL"]:
    del os.environ[_name]
for _name in ("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL"):
    os.environ.pop(_name, None)
if "TEST_DATABASE_URL" in os.environ:  # set by tests that run other tests on PostgreSQL
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ["VERIFRAME_ENV_FILE"] = ""
os.environ["VERIFRAME_SECRET_KEY"] = "only-for-tests-" + "x" * 40
os.environ.update(NO_LIMITS)

import django  # noqa: E402
import pytest  # noqa: E402

django.setup()  # conftests of the packages below import models, before pytest-django would get to it

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SHARED = PROJECT_ROOT.parent / "shared"


def lacking(reason: str) -> NoReturn:
    """Skip a test that this machine cannot run; in CI, where nothing may be lacking, fail it."""
    if os.environ.get("VERIFRAME_REQUIRE_ALL"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The labelled faces and clips that lie beside the checkout; never part of the project."""
    data = SHARED / "data"
    if not data.is_dir():
        lacking("needs ../shared/data beside the checkout")
    return data


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Weights that lie beside the checkout (YuNet, MesoNet, ImageNet); never part of the project."""
    models = SHARED / "models"
    if not models.is_dir():
        lacking("needs ../shared/models beside the checkout")
    return models


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite in a file, as in service: in memory it has neither WAL nor the locking that threads would meet."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        database.setdefault("TEST", {})["NAME"] = tmp_path_factory.mktemp("database") / "test.sqlite3"
