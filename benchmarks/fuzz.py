"""Send mutated images and videos through a real server and its worker, and see that each ends with a code.

``python -m benchmarks.fuzz --files 5000 --seed 1``; a small run is ``tests/detection/test_fuzz.py``. Nothing may
crash, answer 5xx, fail without a code of ours, or leave a file behind; each file that makes it so is kept. The table
says what became of each kind of mutation.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.mutations import Sample, mutated, originals
from detection.engine.errors import ErrorCode
from tests.detection.person import Person, ended
from tests.e2e.server import Server

MARK = ".veriframe"  # by which the media folder is known again; no upload
PATIENCE = 1800  # seconds for one analysis: the worker's own limits must end it long before
BATCH = 20  # files on their way at once; each waits for a worker behind the others
# What may be wrong with a file. The other codes say that something is wrong with us.
FILE_CODES = {
    ErrorCode.UNREADABLE_MEDIA,
    ErrorCode.UNSUPPORTED_CODEC,
    ErrorCode.MEDIA_TOO_LONG,
    ErrorCode.TOO_MANY_PIXELS,
    ErrorCode.OUT_OF_MEMORY,
    ErrorCode.TIMED_OUT,
}
SETTINGS = {
    "VERIFRAME_FRAMES": "8",
    "VERIFRAME_THREADS": "1",
    "VERIFRAME_DAILY_QUOTA": "0",
    "VERIFRAME_STORAGE_MB": "0",
    "VERIFRAME_ATTEMPTS": "1",
}


@dataclass
class Findings:
    """What became of the files, and what should not have happened."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind of mutation, outcome)
    faults: list[str] = field(default_factory=list)

    def table(self) -> str:
        kinds = sorted({kind for kind, _ in self.outcomes})
        columns = sorted({outcome for _, outcome in self.outcomes})
        lines = ["| mutation | files | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
        for kind in kinds:
            row = [self.outcomes[kind, column] for column in columns]
            lines.append(f"| {kind} | {sum(row)} | " + " | ".join(str(n) if n else "" for n in row) + " |")
        total = [sum(self.outcomes[kind, column] for kind in kinds) for column in columns]
        lines.append(f"| all | {sum(total)} | " + " | ".join(map(str, total)) + " |")
        return "\n".join(lines)


@dataclass
class Run:
    """One server, one person, many files. What is wrong with us goes into ``findings`` and, as a file, to ``keep``."""

    server: Server
    person: Person
    keep: Path
    findings: Findings = field(default_factory=Findings)

    def send(self, first: int, last: int, seed: int, samples: list[Sample]) -> None:
        """Files ``first`` to ``last`` (exclusive): send them all, then see what became of each."""
        sent = []
        for number in range(first, last):
            kind, sample = mutated(number, seed, samples)
            answer = self.person.post(sample.name, sample.content, force="true")
            if answer.status_code == 202:
                sent.append((number, kind, sample, answer.json()["id"]))
            else:
                known = answer.headers["Content-Type"] == "application/problem+json"
                code = answer.json()["code"] if known else answer.status_code
                self._note(number, kind, sample, f"refused: {code}", fine=known and answer.status_code < 500)
        for number, kind, sample, analysis_id in sent:
            outcome, fine = self._outcome(analysis_id)
            self._note(number, kind, sample, outcome, fine=fine)

    def _outcome(self, analysis_id: str) -> tuple[str, bool]:
        """How it ended and whether that may be; removes it."""
        analysis = self._wait(analysis_id)
        pages = [self.person.http.get(f"/analyses/{analysis_id}/", headers={"Accept": "text/html"}).status_code]
        address = f"/api/v1/analyses/{analysis_id}/"
        headers = {"X-CSRFToken": self.person.http.cookies["csrftoken"]}
        pages.append(self.person.http.delete(address, headers=headers).status_code)
        shown = pages == [200, 204]
        if analysis["status"] == "succeeded":
            return f"result: {analysis['result']['verdict']}", shown
        code = (analysis["error"] or {}).get("code", "no code")
        return f"{analysis['status']}: {code}", shown and code in FILE_CODES

    def _wait(self, analysis_id: str) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while not ended(analysis := self.person.look(analysis_id)):
            if time.monotonic() > end:
                raise TimeoutError(f"analysis {analysis_id} has not ended after {PATIENCE} s")
            time.sleep(0.05)
        return analysis

    def _note(self, number: int, kind: str, sample: Sample, outcome: str, *, fine: bool) -> None:
        self.findings.outcomes[kind, outcome] += 1
        if not fine:
            self.findings.faults.append(f"file {number} ({kind}, {sample.name[-40:]}): {outcome}")
            self.keep.mkdir(parents=True, exist_ok=True)
            (self.keep / f"{number}.{sample.extension or 'bin'}").write_bytes(sample.content)


def fuzz(folder: Path, count: int, seed: int, told: Any = None) -> Findings:
    """Send ``count`` files. ``told`` hears of each batch: files so far, seconds, findings."""
    (folder / "originals").mkdir()
    samples = originals(folder / "originals")
    began = time.monotonic()
    with Server(folder, **SETTINGS) as server, Person(server) as person:
        assert server.process is not None
        process = server.process
        person.http.timeout = PATIENCE
        run = Run(server, person, folder / "kept")
        faults = run.findings.faults
        try:
            for first in range(0, count, BATCH):
                run.send(first, min(count, first + BATCH), seed, samples)
                if told:
                    told(min(count, first + BATCH), time.monotonic() - began, run.findings)
        except (httpx.HTTPError, TimeoutError) as error:
            faults.append(f"nothing more came of the files from {first} on: {error!r}")
        if process.poll() is not None:
            faults.append(f"the server ended with {process.returncode}")
        faults += [line for line in server.log.read_text().splitlines() if " ERROR " in line or "Traceback" in line]
        left = [path for path in (folder / "media").rglob("*") if path.is_file() and path.name != MARK]
        faults += [f"left: {path}" for path in left]
        faults += [f"a decoder that reads nothing: {name}" for name in _idle_decoders(process.pid)]
    return run.findings


def _idle_decoders(server: int) -> list[str]:
    """Processes that still read a file though none is analysed any more (Linux). A moment to end is theirs."""
    end = time.monotonic() + 30
    while True:
        found = [f"{child} of {host}" for host in _children(server) for child in _children(host)]
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def _children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task")
    if not tasks.is_dir():
        return []
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the server's data, its log and what was found are kept")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)

    def told(done: int, seconds: float, findings: Findings) -> None:
        print(f"{done} files, {seconds:.0f} s, {len(findings.faults)} faults", file=sys.stderr, flush=True)

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    findings = fuzz(folder, options.files, options.seed, told)
    print(findings.table())
    print(*(findings.faults or ["No faults."]), sep="\n")
    print(f"Kept in {folder}")
    return 1 if findings.faults else 0


if __name__ == "__main__":
    sys.exit(main())
