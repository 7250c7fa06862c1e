"""The notebook, from a folder of videos to a model that a running site judges with; nothing is restarted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import nbformat
import pytest
from nbclient import NotebookClient

from tests.clips import video
from tests.detection.person import Person, ended
from tests.e2e.server import ROOT, Server
from tests.portraits import ANNA, BEN, CLEO, scene

NOTEBOOK = ROOT / "detection/training/notebooks/train_your_own.ipynb"
SIZE = (320, 280)
PEOPLE = {"train": (ANNA, BEN), "calibration": (CLEO, BEN), "val": (ANNA, CLEO)}
SECONDS = 600  # for one cell, on a busy machine


def write_video(path: Path, person, *, manipulated: bool) -> None:
    """Six frames of somebody who drifts to the right; a manipulated mouth is green."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def paint(index: int):
        picture, (points,) = scene(SIZE, [(person, (20 + index, 10), 260)])
        if manipulated:
            x, y = (int(v) for v in points[3])
            picture[y - 14 : y + 14, x - 30 : x + 30, 1] = 255
        return picture

    video(path, frames=6, rate=10, size=SIZE, paint=paint, options={"crf": "18"})


@pytest.fixture
def videos(tmp_path) -> Path:
    """Real and manipulated videos in the splits that `prepare` knows."""
    folder = tmp_path / "videos"
    for split, people in PEOPLE.items():
        for i, person in enumerate(people):
            for side in ("real", "fake"):
                write_video(folder / split / side / f"{split}-{i}.mp4", person, manipulated=side == "fake")
    return folder


@pytest.fixture
def site(tmp_path) -> Iterator[Server]:
    folder = tmp_path / "site"
    folder.mkdir()
    with Server(folder, VERIFRAME_MODELS_DIR=str(folder / "models"), VERIFRAME_THREADS="1") as server:
        yield server


@pytest.fixture
def person(site) -> Iterator[Person]:
    with Person(site) as person:
        yield person


def run_notebook(parameters: str, environment: dict[str, str], monkeypatch) -> str:
    """Execute it in a kernel of its own, with other parameters; returns what it printed."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (first,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    first.source += f"\n{parameters}"
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


def judged_by(person: Person, picture: Path) -> str:
    """Upload a picture and return name and version of the model in its result."""
    asked = person.upload(picture)
    model = person.wait(asked["id"], ended)["result"]["model"]
    return f"{model['name']} {model['version']}"


@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_from_a_folder_of_videos_to_the_model_of_a_running_site(videos, site, person, tmp_path, monkeypatch):
    pictures = []
    for i, face in enumerate((ANNA, BEN)):
        pictures.append(tmp_path / f"{i}.png")
        cv2.imwrite(str(pictures[-1]), scene(SIZE, [(face, (20, 10), 260)])[0][..., ::-1])
    before = judged_by(person, pictures[0])
    work = tmp_path / "mine"
    said = run_notebook(
        f'SOURCE, WORK = Path("{videos}"), Path("{work}")\n'
        'NAME, ARCHITECTURE, PRETRAINED = "mine", "meso4", ""\n'
        "INPUT_SIZE, STEPS, EPOCHS, PATIENCE, BATCH, FORCE = 64, 2, 2, 1, 8, True",
        site.environment,
        monkeypatch,
    )
    assert "mine-v1 is active" in said
    assert (work / "report" / "report.json").is_file()
    after = judged_by(person, pictures[1])
    assert (before, after) == ("mobilenetv2-pair 2", "mine 1")


def test_the_notebook_carries_no_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert NOTEBOOK.stat().st_size < 50_000
