"""``python -m detection.engine`` as its user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from detection.engine.registry import find_model

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "detection.engine", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def not_a_video(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("this is a text")
    return path


def test_json_gives_one_object_a_line_in_the_order_of_the_files(shared_data, not_a_video):
    clip = shared_data / "clips/val/real/035.mp4"
    lines = run(clip, not_a_video, clip, "--json", "--frames", "6", code=1).stdout.splitlines()
    first, bad, second = map(json.loads, lines)
    assert first["file"] == second["file"] == str(clip)
    assert set(first) == {
        "file", "verdict", "score", "reasons", "tracks", "frames", "total_frames", "deepfake_frames",
        "timings", "model",
    }  # fmt: skip
    assert first["model"]["sha256"] == find_model().sha256
    assert first["total_frames"] == 6
    assert first["frames"][0]["faces"][0]["box"].keys() == {"left", "top", "right", "bottom"}
    assert bad == {"file": str(not_a_video), "error": bad["error"]}
    assert bad["error"]["code"] == "unreadable_media"
    assert bad["error"]["message"]


def test_a_thorough_look_takes_twice_as_many_frames(shared_data):
    clip = shared_data / "clips/val/real/035.mp4"
    (line,) = run(clip, "--json", "--frames", "6", "--mode", "thorough").stdout.splitlines()
    assert json.loads(line)["total_frames"] >= 12


@pytest.mark.parametrize("frames", ["0", "3601"])
def test_a_number_of_frames_that_makes_no_sense(not_a_video, frames):
    assert "must be at" in run(not_a_video, "--frames", frames, code=2).stderr


def test_text_is_for_people_and_progress_goes_to_stderr(shared_data):
    done = run(shared_data / "clips/val/faceswap/035_036.mp4", "--frames", "8")
    for word in ("score", "face 0", "flagged", "timings", find_model().name):
        assert word in done.stdout
    assert "frame" in done.stderr


def test_a_missing_file_is_said(tmp_path):
    done = run(tmp_path / "nowhere.mp4", code=1)
    assert "unreadable_media" in done.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_name_that_is_no_text_is_no_obstacle(tmp_path, monkeypatch, options):
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as in a terminal of most languages
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (64, 64)).save(path)
    assert "udce9" in run(path, *options).stdout


def test_an_unknown_model_is_a_usage_error(not_a_video):
    assert "model_unavailable" in run(not_a_video, "--model", "nope", code=2).stderr


def test_the_engine_needs_neither_django_nor_keras():
    code = (
        "import sys, detection.engine.factory, detection.engine.__main__;"
        "print([m for m in ('django', 'keras', 'tensorflow', 'channels', 'dramatiq') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
