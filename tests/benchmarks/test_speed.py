"""``make bench`` on a few small files: it must not rot between the times when somebody really measures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import pytest
from PIL import Image

from benchmarks.speed import __main__ as speed
from benchmarks.speed.files import KEYFRAMES, PERIOD, RATE, Maker
from benchmarks.speed.multiply_adds import multiply_adds
from benchmarks.speed.report import Goal, Report, Table, goals, number
from benchmarks.speed.starts import closure
from detection.engine.registry import find_model
from tests.conftest import PROJECT_ROOT, lacking
from tests.services import postgresql_programs


@pytest.mark.services
@pytest.mark.timeout(900)  # the machine may be busy
def test_a_quick_run_fills_every_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    if shutil.which("redis-server") is None or postgresql_programs() is None:
        lacking("needs redis-server and PostgreSQL (Debian: apt install redis-server postgresql)")
    path = speed.main(["--quick"], results=tmp_path / "results", media=tmp_path / "media")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert set(kept["sections"]) == set(speed.SECTIONS)
    end_to_end, web = kept["sections"]["end_to_end"]["figures"], kept["sections"]["web"]["figures"]
    (video,) = (figures for figures in end_to_end.values() if figures["seconds"])
    assert video["first"][0] < video["verdict"][0]
    assert {"probe", "decode", "faces", "classify", "explain", "store"} <= set(video["timings"][0])
    assert video["peak_mib"] <= video["sum_of_high_water_mib"]
    assert web["fan_out"]["whole"] == 5  # each of the five heard everything
    assert len(web["fan_out"]["delays"]) == 5 * 2
    assert {"TensorFlow", "OpenCV", "PyAV", "LiteRT"}.isdisjoint(web["memory_of_web"]["loaded"])
    printed = capsys.readouterr().out
    assert printed.startswith(path.with_suffix(".md").read_text(encoding="utf-8").splitlines()[0])
    assert "**Their weights are random**" in printed


def test_a_long_video_repeats_what_a_short_one_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.speed.files.PERIOD", 1)
    monkeypatch.setattr("benchmarks.speed.files.KEYFRAMES", RATE)
    maker = Maker(tmp_path)
    file = maker.video(120, 3)
    with av.open(str(file.path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
    assert len(frames) == 3 * RATE
    assert [frame.time for frame in frames] == pytest.approx([number / RATE for number in range(len(frames))])
    assert [number for number, frame in enumerate(frames) if frame.key_frame] == [0, RATE, 2 * RATE]
    made = file.path.stat().st_mtime_ns
    assert maker.video(120, 3).path.stat().st_mtime_ns == made  # once


def test_two_keyframes_make_a_period():
    assert PERIOD * RATE == 2 * KEYFRAMES


def test_a_made_photo_has_its_size(tmp_path: Path):
    with Image.open(Maker(tmp_path).photo(320, 240).path) as photo:
        assert photo.size == (320, 240)


def test_multiply_adds_are_those_that_the_paper_gives():
    """MobileNetV2 (arXiv 1801.04381): 300 million at 224 pixels; ours is two of them at 192."""
    twice = 2 * 300e6 * (192 / 224) ** 2
    assert multiply_adds(find_model().path) == pytest.approx(twice, rel=0.05)


def test_what_a_server_needs_is_followed_to_the_end():
    found = closure(PROJECT_ROOT / "requirements.txt")
    assert {"django", "uvicorn", "httptools", "numpy"} <= found  # httptools comes with uvicorn[standard]
    assert {"tensorflow-cpu", "pytest"}.isdisjoint(found)


def test_goals_are_met_or_missed():
    report = Report(goals=[Goal("a", 0.9, 1.0, "s"), Goal("b", 1.1, 1.0, "s")])
    assert [row[-1] for row in goals([report]).rows] == ["met", "**missed**"]


def test_a_row_fits_its_head():
    with pytest.raises(ValueError, match="2 cells under 1 heads"):
        Table("t", ["one"]).add(1.0, 2.0)


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (123.4, "123"), (12.34, "12.3"), (0.01234, "0.0123")])
def test_figures_have_three_digits(value: float, text: str):
    assert number(value) == text


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        speed.main(["--only", "everything"])
    assert "there is no everything" in capsys.readouterr().err
