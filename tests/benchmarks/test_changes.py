"""``python -m benchmarks.changes`` on two small files, and what it makes of answers that differ."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.changes import __main__ as changes
from benchmarks.changes.agreement import Clip, compare_rankings, compare_scores
from benchmarks.changes.apart import UnknownCommitError, unpack
from benchmarks.changes.measuring import Outcome
from benchmarks.changes.ways import Change
from benchmarks.speed.files import File
from tests.conftest import PROJECT_ROOT, lacking

FACE = [0.0, 10.0, 10.0, 50.0, 60.0]


def outcome(*scores: float, seconds: float = 1.0, shift: float = 0.0, verdict: str = "authentic") -> Outcome:
    """A file with a face each second; ``shift`` moves them, pixels."""
    faces = [
        [float(time), FACE[1] + shift, FACE[2], FACE[3] + shift, FACE[4], score, score]
        for time, score in enumerate(scores)
    ]
    mean = sum(scores) / len(scores) if scores else None
    return {"seconds": seconds, "first": seconds / 2, "verdict": verdict, "score": mean, "faces": faces}


def needs_history() -> None:
    if shutil.which("git") is None or subprocess.run(["git", "-C", str(PROJECT_ROOT), "rev-parse", "HEAD"]).returncode:
        lacking("needs git and the repository's history")


def test_a_quick_run_takes_every_change_back_and_finds_the_same_answers(tmp_path: Path):
    needs_history()
    kept = json.loads(
        changes.main(
            ["--quick", "--commit", "HEAD"], results=tmp_path / "results", media=tmp_path / "media"
        ).read_text()
    )
    found = kept["sections"]["changes"]["figures"]
    assert len(found) == 10
    ranked = {name for name, figures in found.items() if figures["validation"]}
    assert ranked == {
        "faces are followed from frame to frame",
        "half of the frames first, and all where that does not settle it",
        "keyframes and frames close behind them",
        "everything since HEAD",
    }
    for name in found.keys() - ranked:
        assert found[name]["scores"]["faces"] > 0
        assert found[name]["scores"]["others"] == 0
        assert found[name]["scores"]["largest"] <= 1e-3


def test_ways_take_turns_and_warm_up_first():
    asked: list[str] = []

    def way(name: str, seconds: list[float]):
        def run(path: Path) -> Outcome:
            asked.append(name)
            return outcome(0.5, seconds=seconds.pop(0))

        return run

    file = File("clip", Path("clip.mp4"), 3.0)
    now, back = way("now", [9.0, 1.0, 2.0, 3.0]), way("back", [9.0, 2.0, 2.0, 12.0])
    other = way("other", [9.0, 5.0, 5.0, 5.0])
    first, second = changes.measure([Change("a", "b", now, back), Change("c", "d", now, other)], [file], rounds=3)
    assert asked == ["now", "back", "other"] * 4  # once to warm up
    assert first.seconds(file, "seconds") == (2.0, 2.0, 2.0)  # the ratio is that of the rounds: 2, 1 and 4
    assert second.seconds(file, "first") == (1.0, 2.5, 2.5)


def test_a_change_of_a_score_is_seen_and_a_moved_face_is_another_one():
    assert compare_scores([(outcome(0.2, 0.4), outcome(0.2, 0.4))]).same
    moved = compare_scores([(outcome(0.2, 0.4), outcome(0.2, 0.402, shift=1))])
    assert (moved.faces, moved.others, moved.largest) == (2, 0, pytest.approx(0.002))
    assert not moved.same
    gone = compare_scores([(outcome(0.2, 0.4), outcome(0.2)), (outcome(0.2), outcome(0.2, shift=100))])
    assert (gone.faces, gone.others, gone.same) == (1, 3, False)


def test_ranks_are_those_of_faces_and_of_files():
    clips = [Clip(Path("a"), is_fake=False), Clip(Path("b"), is_fake=True)]
    now, back = [outcome(0.1, 0.5), outcome(0.3, 0.9)], [outcome(0.1, 0.2), outcome(0.3, 0.9, verdict="suspicious")]
    ranking = compare_rankings(clips, list(zip(now, back, strict=True)))
    assert ranking.faces == (0.75, 1.0)
    assert ranking.files == (1.0, 1.0)
    assert (ranking.pairs, ranking.verdicts, ranking.held) == (1, 1, False)
    assert compare_rankings(clips, list(zip(back, now, strict=True))).held


def test_a_commit_that_is_not_there_is_said(tmp_path: Path):
    needs_history()
    with pytest.raises(UnknownCommitError, match="no-such-commit"):
        unpack("no-such-commit", tmp_path)
