"""What a site is run with: held to the code, and to the programs that will read it, as far as they are here."""

from __future__ import annotations

import http.server
import importlib.util
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from django.conf import settings
from django.core.management import get_commands

from detection.management.commands.worker import STOP_SECONDS
from detection.workers import SETS
from tests.conftest import lacking
from tests.e2e.server import ROOT

DEPLOY = ROOT / "config" / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


# -- compose.yaml -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_may_do_little(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert "privileged" not in service
    assert "cap_add" not in service


def test_the_proxy_alone_can_be_reached_and_workers_with_files_reach_nobody():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("images", "videos", "migrate", "db", "redis"):
        assert SERVICES[name]["networks"] == ["inside"], name


def test_there_is_no_secret_in_it():
    """Passwords come from the environment, and without them it does not start."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for name in re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY|TOKEN)\w*)", text):
        assert f"${{{name}}}" not in text
        assert f"${{{name}:-" not in text
    assert SERVICES["db"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert "://veriframe:${POSTGRES_PASSWORD:?" in SERVICES["web"]["environment"]["DATABASE_URL"]


def test_its_commands_are_ours_and_each_set_of_workers_has_a_container():
    ours = {name: service for name, service in SERVICES.items() if service["image"] == "veriframe"}
    for service in ours.values():
        assert service.get("command", ["serve"])[0] in get_commands()
    assert {tuple(service["command"]) for service in ours.values() if service.get("command", [""])[0] == "worker"} == {
        ("worker", name) for name in SETS
    }


def test_workers_have_the_time_to_hand_back_what_they_do():
    for name in SETS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > STOP_SECONDS + 10


def test_workers_have_room_for_what_they_may_take_and_for_their_decoder():
    unit = (DEPLOY / "systemd" / "veriframe-worker@.service").read_text(encoding="utf-8")
    memory_max = re.search(r"^MemoryMax=(\d+)G$", unit, re.MULTILINE)[1]
    limits = [memory_max, *(SERVICES[name]["mem_limit"].removesuffix("g") for name in ("images", "videos"))]
    for limit in limits:
        assert int(limit) << 30 > settings.WORKER_MEMORY_BYTES + settings.DECODE_MEMORY_BYTES


def test_the_image_can_be_built_with_what_a_bucket_needs():
    assert "ARG INSTALL=server\n" in DOCKERFILE
    assert SERVICES["web"]["build"] == {"context": ".", "args": {"INSTALL": "${INSTALL:-server}"}}


def test_files_on_their_way_are_on_a_disk():
    """In /tmp they would take the memory that a container may have."""
    web = SERVICES["web"]
    assert web["tmpfs"] == ["/tmp"]
    assert f"arriving:{web['environment']['TMPDIR']}" in web["volumes"]
    assert "arriving" in COMPOSE["volumes"]
    common = (DEPLOY / "systemd" / "veriframe-.service.d" / "common.conf").read_text(encoding="utf-8")
    assert f"Environment=TMPDIR={web['environment']['TMPDIR']}\n" in common


def test_image_and_units_keep_the_allocator_from_growing_with_the_threads():
    assert "    MALLOC_ARENA_MAX=2 " in DOCKERFILE
    common = (DEPLOY / "systemd" / "veriframe-.service.d" / "common.conf").read_text(encoding="utf-8")
    assert "Environment=MALLOC_ARENA_MAX=2\n" in common


def test_the_proxy_looks_for_each_new_server_and_leaves_a_connection_before_it_does():
    assert SERVICES["proxy"]["depends_on"]["web"] == {"condition": "service_healthy", "restart": True}
    http = (DEPLOY / "nginx" / "http.conf").read_text(encoding="utf-8")
    upstream = http.partition("upstream site {")[2].partition("}")[0]
    kept = int(re.search(r"keepalive_timeout (\d+)s;", upstream)[1])
    assert kept < uvicorn.Config("config.asgi:application").timeout_keep_alive


def test_proxy_server_and_volume_agree():
    site = (DEPLOY / "nginx" / "site.conf").read_text(encoding="utf-8")
    web, proxy = SERVICES["web"], SERVICES["proxy"]
    assert f"location {web['environment']['VERIFRAME_X_ACCEL']} {{" in site
    folder = web["environment"]["VERIFRAME_MEDIA_ROOT"]
    assert f"alias {folder}/;" in site
    assert f"media:{folder}" in web["volumes"]
    assert f"media:{folder}:ro" in proxy["volumes"]
    assert proxy["user"] == re.search(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[1]


# -- Dockerfile and the script that it calls --------------------------------------------------------------------------


def test_the_image_is_made_by_the_script_that_makes_the_environment_of_the_tests():
    assert "RUN config/deploy/install /opt/venv ${INSTALL}" in DOCKERFILE
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "INSTALL := config/deploy/install $(VENV)" in makefile
    assert "pip install" not in makefile


def test_the_image_runs_as_nobody_in_particular():
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".*", "media/*", "tests", "*.sqlite3*"} <= set(ignored)


def test_the_script_says_what_it_knows():
    done = subprocess.run([DEPLOY / "install"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for word in ("server", "s3", "training", "gpu", "dev"):
        assert re.search(rf"^  {word} ", done.stderr, re.MULTILINE)


def healthcheck() -> Any:
    spec = importlib.util.spec_from_file_location("healthcheck", DEPLOY / "healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("status", "alive"), [(200, True), (301, True), (400, False), (503, False)])
def test_a_container_knows_whether_its_server_lives(monkeypatch, status: int, alive: bool):
    asked = []

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Host"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    module = healthcheck()
    with http.server.HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(module, "PORT", server.server_port)
        monkeypatch.setenv("VERIFRAME_ALLOWED_HOSTS", ".example.org, faces.example.org")
        found = module.lives()
        server.shutdown()
        thread.join()
    assert found is alive
    assert asked == [("/health/", "faces.example.org")]
    assert module.lives() is False, "nobody listens any more"


# -- systemd ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine's files with the units where the README puts them."""
    if shutil.which("systemd-analyze") is None:
        lacking("needs systemd-analyze (Debian: apt install systemd)")
    units = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(DEPLOY / "systemd", units)
    for name in SETS:
        (units / f"veriframe-worker@{name}.service").symlink_to("veriframe-worker@.service")
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr" / "lib" / "systemd" / "system", symlinks=True)
    program = tmp_path / "opt" / "veriframe" / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


UNITS = ["veriframe.target", "veriframe-web.service", *(f"veriframe-worker@{name}.service" for name in SETS)]


def test_systemd_understands_the_units(machine: Path):
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={machine}", *UNITS], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "veriframe" in line]
    assert (about_ours, done.returncode) == ([], 0)


def test_the_units_may_do_little(machine: Path):
    """By systemd's own measure: 0 is nothing, 10 everything; an ordinary service has 9.6."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--root={machine}", "--threshold=30"]
    for unit in UNITS[1:]:
        done = subprocess.run([*command, unit], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-500:] + done.stderr


def test_units_run_our_commands_and_wait_long_enough():
    for file in (DEPLOY / "systemd").glob("*.service"):
        command = re.search(r"^ExecStart=\S+ manage.py (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert command is not None
        assert command[1] in get_commands()
    common = (DEPLOY / "systemd" / "veriframe-.service.d" / "common.conf").read_text(encoding="utf-8")
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", common, re.MULTILINE)[1]) > STOP_SECONDS + 10
    assert re.search(r"^OOMPolicy=continue$", common, re.MULTILINE), "a decoder that takes too much goes alone"
