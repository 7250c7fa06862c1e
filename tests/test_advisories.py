"""What is made of pip-audit's report; whether the packages are clean is no test's business, `make audit` says it."""

from __future__ import annotations

import json

import pytest

from tests import advisories


def report(*packages: dict) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


CLEAN = {"name": "django", "version": "5.2.19", "vulns": []}
UNKNOWN = {"name": "av", "skip_reason": "Dependency not found on PyPI and could not be audited: av (18.1.0)"}
HOLED = {"name": "pillow", "version": "9.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["9.0.1"]}]}


def test_a_known_vulnerability_fails_the_audit_and_is_said_by_lint(monkeypatch, capsys):
    monkeypatch.setattr(advisories, "ask", lambda seconds: report(CLEAN, HOLED, UNKNOWN))
    assert advisories.main([]) == advisories.FOUND
    assert advisories.main(["--best-effort"]) == advisories.CLEAN
    assert capsys.readouterr().out.count("VULNERABLE: pillow 9.0, PYSEC-1, mended in 9.0.1") == 2


@pytest.mark.parametrize("answer", [None, "", report(UNKNOWN, UNKNOWN)])
def test_no_answer_is_not_taken_for_a_good_one(monkeypatch, capsys, answer):
    monkeypatch.setattr(advisories, "ask", lambda seconds: answer)
    assert advisories.main([]) == advisories.NOT_CHECKED
    assert advisories.main(["--best-effort"]) == advisories.CLEAN
    assert capsys.readouterr().out.count("NOT CHECKED") == 2


def test_what_is_clean_is_counted(monkeypatch, capsys):
    monkeypatch.setattr(advisories, "ask", lambda seconds: report(CLEAN, UNKNOWN))
    assert advisories.main([]) == advisories.CLEAN
    assert "1 packages without known vulnerabilities; 1 that PyPI does not know" in capsys.readouterr().out


def test_without_a_network_there_is_no_report(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert advisories.ask(60) is None
