"""A finished analysis with its file and pictures on disk, and a clock that can be moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from accounts.models import User
from detection import runner
from detection.models import Analysis
from tests import factories
from tests.fakes import FakePipeline

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """The time of every library in this process."""

    def __init__(self, traveller: time_machine.Coordinates) -> None:
        self.traveller = traveller

    def forward(self, **units: float) -> None:
        self.traveller.shift(timedelta(**units))


@pytest.fixture
def clock() -> Iterator[Clock]:
    with time_machine.travel(BEGIN, tick=False) as traveller:
        yield Clock(traveller)


@pytest.fixture
def finish() -> Callable[..., Analysis]:
    """Have an analysis of a new upload run to its end, as a worker does."""

    def make(user: User, **upload: object) -> Analysis:
        analysis = factories.make_analysis(upload=factories.make_upload(user, **upload))
        runner.run(analysis.pk, engine=FakePipeline(frames=2))
        return Analysis.objects.select_related("upload").get(pk=analysis.pk)

    return make


@pytest.fixture
def finished(clock: Clock, owner: User, finish: Callable[..., Analysis]) -> Analysis:
    return finish(owner)


@pytest.fixture
def on_disk(media_root: Path) -> Callable[[], list[str]]:
    """Every file under the media root, but for our own mark."""

    def look() -> list[str]:
        files = (path for path in media_root.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(media_root)) for path in files if path.name != ".veriframe")

    return look
