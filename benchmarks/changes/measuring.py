"""One analysis as figures, and a process that makes them: ``python measuring.py OPTIONS``, a path a line on stdin.

The process says ``ready`` and then an Outcome for each file. It measures whatever engine it finds on ``PYTHONPATH``,
also that of an older commit: so nothing is imported here but the engine, and of that only what it always had.
``OPTIONS`` are JSON: what EngineConfig is to be made with.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from detection.engine.factory import EngineConfig, build_pipeline
from detection.engine.pipeline import Pipeline
from detection.engine.types import Scored


class Outcome(TypedDict):
    """Of one file. ``faces``: of each one time (s), left, top, right, bottom (px), score and logit."""

    seconds: float
    first: float | None  # seconds until the first score
    verdict: str
    score: float | None
    faces: list[list[float]]


Run = Callable[[Path], Outcome]


def measure(pipeline: Pipeline, path: Path) -> Outcome:
    first: list[float] = []
    began = time.perf_counter()

    def listen(event: Any) -> None:
        if isinstance(event, Scored) and not first:
            first.append(time.perf_counter() - began)

    result = pipeline.run(path, listen)
    seconds = time.perf_counter() - began
    scores = [score for track in result.tracks for score in track.scores]
    return {
        "seconds": seconds,
        "first": first[0] if first else None,
        "verdict": str(result.verdict),
        "score": result.score,
        "faces": [[s.time, s.box.left, s.box.top, s.box.right, s.box.bottom, s.score, s.logit] for s in scores],
    }


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[1])
    if "models_dir" in options:
        options["models_dir"] = Path(options["models_dir"])
    pipeline = build_pipeline(EngineConfig(**options))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(pipeline, Path(line.rstrip("\n")))), flush=True)


if __name__ == "__main__":
    main()
