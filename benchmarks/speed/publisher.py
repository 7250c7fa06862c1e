"""Publishes events about an analysis as a worker does, each with the time at which it was sent.

``python -m benchmarks.speed.publisher ANALYSIS REVISION COUNT PAUSE``, with a site's settings in the environment. The
time stands where a score would: ``points`` is ``[[seconds since the epoch, 0]]``.
"""

from __future__ import annotations

import sys
import time
import uuid

import django

django.setup()

from detection import progress  # noqa: E402


def main() -> None:
    analysis, revision, count, pause = uuid.UUID(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    for number in range(1, count + 1):
        event: progress.Scored = {
            "type": "analysis.scored",
            "id": str(analysis),
            "revision": revision + number,
            "points": [[time.time(), 0.0]],
        }
        progress.publish(analysis, event)
        time.sleep(pause)


if __name__ == "__main__":
    main()
