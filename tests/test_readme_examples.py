"""What the README tells programs to do is done, as it stands, against a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import factories
from tests.conftest import PROJECT_ROOT, lacking
from tests.detection.person import Person
from tests.e2e.server import Server
from tests.receiver import Receiver

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n## From programs\n", 1)[1].split("\n## ", 1)[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    with Server(
        folder,
        VERIFRAME_WEBHOOK_NETWORKS="127.0.0.1",
    ) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where somebody tries the examples."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(factories.jpeg((320, 240)))
    (folder / "other.jpg").write_bytes(factories.jpeg((240, 320), "white"))
    return folder


def test_the_examples_work(folder: Path, server: Server):
    for tool in ("curl", "jq"):
        if shutil.which(tool) is None:
            lacking(f"needs {tool}")
    person = Person(server)
    given, *examples = blocks("sh")
    with Receiver() as receiver:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VERIFRAME_")},
            "VERIFRAME_URL": server.url,
            "VERIFRAME_TOKEN": person.make_token(),
            "RECEIVER": receiver.url,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT_ROOT),
        }
        assert set(re.findall(r"(\w+)=", given)) == {"VERIFRAME_URL", "VERIFRAME_TOKEN", "RECEIVER"}
        script = "\n".join(["set -euo pipefail", *examples, 'echo "secrets: $secret $callback_secret"'])
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{server.log.read_text()[-3000:]}"
        requests = receiver.wait_for(2)
    assert '"verdict": "inconclusive"' in done.stdout
    assert re.search('^"(succeeded|running|queued)"$', done.stdout, flags=re.MULTILINE)  # wait=20 may be too short
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert len(list((folder / "reports").iterdir())) == 4
    person.http.close()

    secrets = re.search(r"^secrets: (\S+) (\S+)$", done.stdout, flags=re.MULTILINE).groups()
    names: dict = {}
    exec("\n".join(blocks("python")), names)
    is_genuine = names["is_genuine"]
    genuine = [[is_genuine(secret, request.headers, request.body) for secret in secrets] for request in requests]
    assert sorted(genuine) == [[False, True], [True, False]]  # one for the webhook, one for the callback
    changed = requests[0].body.replace(b"inconclusive", b"authentic")
    assert not any(is_genuine(secret, requests[0].headers, changed) for secret in secrets)
