"""A stranger sends broken and malicious files. The full run is ``python -m benchmarks.fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz import Findings, fuzz
from benchmarks.mutations import KINDS, mutated, originals


@pytest.mark.timeout(900)  # it is a minute's work, but another one's machine may be busy
def test_every_broken_file_ends_with_a_code_and_leaves_nothing_behind(tmp_path: Path):
    findings = fuzz(tmp_path, count=150, seed=2)
    assert findings.faults == []
    assert sum(findings.outcomes.values()) == 150
    assert {kind for kind, _ in findings.outcomes} == {kind.__name__.replace("_", " ") for kind in KINDS}
    came_through = [outcome for _, outcome in findings.outcomes if not outcome.startswith("refused")]
    assert {"failed: unreadable_media", "result: inconclusive"} <= set(came_through), "not all stop at the validator"


def test_the_same_seed_makes_the_same_files(tmp_path: Path):
    samples = originals(tmp_path)
    files = [mutated(number, 3, samples) for number in range(20)]
    assert files == [mutated(number, 3, samples) for number in range(20)]
    assert files != [mutated(number, 4, samples) for number in range(20)]


def test_what_was_found_is_told_as_a_table():
    findings = Findings()
    findings.outcomes["noise", "failed: timed_out"] += 2
    findings.outcomes["bomb", "refused: too_many_pixels"] += 1
    assert findings.table().splitlines() == [
        "| mutation | files | failed: timed_out | refused: too_many_pixels |",
        "|---|---|---|---|",
        "| bomb | 1 |  | 1 |",
        "| noise | 2 | 2 |  |",
        "| all | 3 | 2 | 1 |",
    ]
