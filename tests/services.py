"""Private Redis and PostgreSQL servers for tests: on free loopback ports, in temporary folders, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.05)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Yields the URL."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with stopped(process):
        wait_for(lambda: answers(port), "Redis")
        yield f"redis://127.0.0.1:{port}/0"


def postgresql_programs() -> Path | None:
    """The newest installed server's folder; Debian keeps it out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


@contextmanager
def postgresql_server(folder: Path) -> Iterator[str]:
    """Yields the URL of an empty database."""
    programs = postgresql_programs()
    assert programs is not None
    # PostgreSQL refuses to run as root; Debian's package makes this user.
    user = "postgres" if os.getuid() == 0 else None
    data, port = folder / "data", free_port()
    data.mkdir()
    if user:
        account = pwd.getpwnam(user)
        os.chown(data, account.pw_uid, account.pw_gid)
        for parent in [folder, *folder.parents[:3]]:
            if parent.owner() == "root" and str(parent).startswith("/tmp/"):
                parent.chmod(parent.stat().st_mode | 0o011)  # may be passed through, not listed
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "site", "-A", "trust", "-E", "UTF8", "--no-sync"],
        user=user,
        cwd="/",
        check=True,
        stdout=subprocess.DEVNULL,
    )
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
    process = subprocess.Popen(
        [programs / "postgres", "-D", data, *options.split()], user=user, cwd="/", stderr=subprocess.DEVNULL
    )
    with stopped(process):
        wait_for(lambda: answers(port), "PostgreSQL")
        url = f"postgresql://site@127.0.0.1:{port}"
        wait_for(lambda: _create_database(url), "PostgreSQL to take a command")
        yield f"{url}/site"


def _create_database(url: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE site")
    except psycopg.OperationalError:
        return False  # still starting up
    return True
