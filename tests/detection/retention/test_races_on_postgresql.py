"""The races once more, where several transactions really run at once: SQLite lets one write after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import services
from tests.conftest import PROJECT_ROOT, lacking

pytestmark = pytest.mark.services


def test_the_races_end_well_on_postgresql(tmp_path_factory: pytest.TempPathFactory):
    if services.postgresql_programs() is None:
        lacking("needs PostgreSQL (Debian: apt install postgresql)")
    with services.postgresql_server(tmp_path_factory.mktemp("postgresql")) as url:
        races = str(Path(__file__).with_name("test_races.py"))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", races],
            cwd=PROJECT_ROOT,
            env={**os.environ, "TEST_DATABASE_URL": url},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-8000:]
