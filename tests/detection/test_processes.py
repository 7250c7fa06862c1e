"""Processes of our own: what they get to see, and what is said when they fail."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from detection import processes


def python(code: str) -> subprocess.CompletedProcess[str]:
    return processes.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_they_see_no_secret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VERIFRAME_SECRET_KEY", "of the site")
    seen = python("import os; print(*os.environ)").stdout.split()
    assert "PATH" in seen
    assert "VERIFRAME_SECRET_KEY" in os.environ
    assert not [name for name in seen if name.startswith("VERIFRAME")]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('The manifests have no row of it.')", "The manifests have no row of it."),
        ("import no_such_package", "requirements-training.txt"),
        ("import os, signal, sys; print('50 %', file=sys.stderr); os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("raise SystemExit(3)", "without a word"),
    ],
)
def test_their_last_words(code: str, said: str):
    assert said in processes.last_words(python(code))
