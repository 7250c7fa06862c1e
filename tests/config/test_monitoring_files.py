"""The alert rules and the dashboard ask for figures that there are, and call when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache

from config import signs
from config.signs import SignsOfLife
from detection import gauges, tasks, workers
from detection.engine.errors import ErrorCode
from tests.conftest import lacking

ROOT = Path(settings.BASE_DIR)
PROMETHEUS = ROOT / "config" / "deploy" / "prometheus"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "config" / "deploy" / "grafana" / "dashboard.json").read_text("utf-8"))
RULES = (PROMETHEUS / "alerts.yml").read_text("utf-8")
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
ENDINGS = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}


@pytest.fixture
def names(db: None) -> Iterator[set[str]]:
    """Of every series of ours, whether or not there is anything to tell yet."""
    life = SignsOfLife()
    life._queues = {1: (tasks.VIDEOS,)}
    life.beat()
    signs.note_job(settings.JOBS[0][0])
    yield {family.name + end for family in gauges.Everything().collect() for end in ENDINGS.get(family.type, [])}
    cache.clear()


def promtool(*arguments: str | Path) -> None:
    if shutil.which("promtool") is None:
        lacking("needs promtool (Debian: apt install prometheus)")
    done = subprocess.run(["promtool", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", [RULES, "\n".join(EXPRESSIONS)], ids=["alerts", "dashboard"])
def test_every_figure_that_is_asked_for_is_there(names: set[str], text: str):
    asked = set(re.findall(r"\bveriframe_\w+", text))
    assert len(asked) > 10
    assert asked <= names


def test_every_figure_is_on_the_dashboard(names: set[str]):
    """But for those that only say whether the others can be read, which alerts do."""
    families = {family.name for family in gauges.Everything().collect() if family.name.startswith("veriframe_")}
    shown = "\n".join(EXPRESSIONS)
    missing = {name for name in families if name not in shown}
    assert missing == {"veriframe_database_readable", "veriframe_cache_readable", "veriframe_job_runs"}


def test_queues_codes_and_jobs_are_called_by_their_names():
    assert set(re.findall(r'queue="(\w+)"', RULES)) == {tasks.IMAGES, tasks.VIDEOS, tasks.deliver.queue_name}
    (codes,) = re.findall(r'code=~"([\w|]+)"', RULES)
    assert set(codes.split("|")) <= set(ErrorCode)
    assert set(re.findall(r'name="(detection[\w.]+)"', RULES)) <= {path for path, _seconds in settings.JOBS}


def test_prometheus_looks_for_every_process_of_the_compose_file():
    (names,) = re.findall(r"names: \[(.+)\]", (PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    assert set(names.split(", ")) == {"web", *workers.SETS}
    services = set(re.findall(r"^  (\w+):$", (ROOT / "compose.yaml").read_text("utf-8"), flags=re.MULTILINE))
    assert {"web", *workers.SETS} <= services


def test_panels_have_places_of_their_own():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in DASHBOARD["panels"]):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_prometheus_understands_rules_and_configuration():
    promtool("check", "rules", PROMETHEUS / "alerts.yml")
    promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")


def test_prometheus_understands_the_dashboard(tmp_path: Path):
    """Each question as a recording rule, because that is what promtool reads."""
    lines = ["groups:", "  - name: dashboard", "    rules:"]
    for number, expression in enumerate(EXPRESSIONS):
        asked = expression.replace("$__rate_interval", "1m")
        lines += [f"      - record: panel_{number}", f"        expr: {json.dumps(asked)}"]
    (tmp_path / "rules.yml").write_text("\n".join(lines) + "\n")
    promtool("check", "rules", tmp_path / "rules.yml")


def test_the_right_people_are_called():
    promtool("test", "rules", "tests/config/alerts.yml")
