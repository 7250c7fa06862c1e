"""``python -m tests.advisories``: does anything that is installed have a known vulnerability?

pip-audit asks PyPI, one question a package. Where that cannot be reached nothing is known, which is neither a pass
nor a failure, and is said. pip-audit itself would call it "No known vulnerabilities found" when PyPI knows none of the
packages (a mirror without that part of the service), and end with an exception when there is no network.

`make audit` fails unless all is well. `make lint` only says what was found: what the world learns overnight must not
turn a commit red that was green yesterday.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

COMMAND = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off"]
CLEAN, FOUND, NOT_CHECKED = 0, 1, 2


def ask(seconds: int) -> str | None:
    """pip-audit's report as JSON; None if it could not make one."""
    try:
        done = subprocess.run(
            [*COMMAND, "--timeout", "10"], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.stdout.startswith("{") else None


def judge(report: str | None) -> tuple[int, list[str]]:
    """CLEAN, FOUND or NOT_CHECKED, and what to print."""
    packages = json.loads(report)["dependencies"] if report else []
    found = [
        f"VULNERABLE: {package['name']} {package['version']}, {hole['id']}, mended in "
        + (", ".join(hole["fix_versions"]) or "none yet")
        for package in packages
        for hole in package.get("vulns", ())
    ]
    unknown = sum("skip_reason" in package for package in packages)
    if found:
        return FOUND, found
    if unknown == len(packages):
        return NOT_CHECKED, ["NOT CHECKED: known vulnerabilities of the packages (PyPI's service gave no answer)"]
    rest = f"; {unknown} that PyPI does not know were NOT CHECKED" if unknown else ""
    return CLEAN, [f"{len(packages) - unknown} packages without known vulnerabilities{rest}"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--best-effort", action="store_true", help="say it, and never fail")
    parser.add_argument("--seconds", type=int, default=120)
    wanted = parser.parse_args(arguments)
    outcome, lines = judge(ask(wanted.seconds))
    sys.stdout.write("\n".join([*lines, ""]))
    return CLEAN if wanted.best_effort else outcome


if __name__ == "__main__":
    sys.exit(main())
