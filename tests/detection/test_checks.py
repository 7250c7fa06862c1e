"""``manage.py check`` and migrations."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.checks import run_checks
from django.core.management import call_command

from detection import checks


def test_this_project_has_nothing_to_complain_about():
    assert run_checks() == []


@pytest.mark.django_db
def test_models_and_migrations_agree():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_a_media_folder_that_cannot_be_written(settings: LazySettings, tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    settings.MEDIA_ROOT = blocked / "media"
    assert [message.id for message in checks.media_folder_is_usable(None)] == ["veriframe.E001"]
    settings.MEDIA_ROOT = tmp_path / "may" / "be" / "made"
    assert checks.media_folder_is_usable(None) == []


def test_several_processes_on_sqlite(settings: LazySettings):
    settings.EMBEDDED = False
    assert [message.id for message in checks.database_fits_workers(None)] == ["veriframe.W001"]
