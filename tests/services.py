"""Private Redis, PostgreSQL and RabbitMQ for tests: on free loopback ports, in temporary folders, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

START_SECONDS = 60
STOP_SECONDS = 120  # generous: the machine may be busy with something else


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


def end(process: subprocess.Popen[Any], how: signal.Signals = signal.SIGTERM) -> None:
    """Ask it to stop, and wait. One that does not is killed, so that none is left behind, and raises TimeoutExpired."""
    process.send_signal(how)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        end(process)


class Service(ABC):
    """A server that can be stopped and started again, at the same address. ``with`` starts it."""

    name: str

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes]:
        """Start the program; it need not answer yet."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = self.launch()
        wait_for(lambda: answers(self.port), self.name)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            end(self.process, how)
            self.process = None


class Redis(Service):
    """Remembers nothing when it starts again."""

    name = "Redis"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def launch(self) -> subprocess.Popen[bytes]:
        address = ["--port", str(self.port), "--bind", "127.0.0.1"]
        command = ["redis-server", *address, "--save", "", "--dir", str(self.folder)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Yields the URL."""
    with Redis(folder) as redis:
        yield redis.url


def postgresql_programs() -> Path | None:
    """The newest installed server's folder; Debian keeps it out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


class Postgresql(Service):
    """With one database, empty at first, which outlives a restart."""

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        programs = postgresql_programs()
        assert programs is not None
        # PostgreSQL refuses to run as root; Debian's package makes this user.
        self.programs, self.user, self.data = programs, "postgres" if os.getuid() == 0 else None, folder / "data"
        self.server = f"postgresql://site@127.0.0.1:{self.port}"
        self.url = f"{self.server}/site"
        self.data.mkdir()
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.data, account.pw_uid, account.pw_gid)
            for parent in [folder, *folder.parents[:3]]:
                if parent.owner() == "root" and str(parent).startswith("/tmp/"):
                    parent.chmod(parent.stat().st_mode | 0o011)  # may be passed through, not listed
        subprocess.run(
            [programs / "initdb", "-D", self.data, "-U", "site", "-A", "trust", "-E", "UTF8", "--no-sync"],
            user=self.user,
            cwd="/",
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def launch(self) -> subprocess.Popen[bytes]:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories= -c fsync=off"
        command = [self.programs / "postgres", "-D", self.data, *options.split()]
        return subprocess.Popen(command, user=self.user, cwd="/", stderr=subprocess.DEVNULL)

    def start(self) -> None:
        super().start()
        wait_for(self._take_a_command, "PostgreSQL to take a command")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT, PostgreSQL's "fast": connections are cut, not waited for."""
        super().stop(how)

    def _take_a_command(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(f"{self.server}/postgres", autocommit=True) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'site'").fetchone():
                    connection.execute("CREATE DATABASE site")
        except psycopg.OperationalError:
            return False  # still starting up
        return True


@contextmanager
def postgresql_server(folder: Path) -> Iterator[str]:
    """Yields the URL of an empty database."""
    with Postgresql(folder) as postgresql:
        yield postgresql.url


def rabbitmq_program() -> Path | None:
    """The server's own script; what Debian puts into PATH wants to become another user."""
    found = sorted(Path("/usr/lib/rabbitmq").glob("lib/*/sbin/rabbitmq-server"))
    if found:
        return found[-1]
    program = shutil.which("rabbitmq-server")
    return Path(program) if program else None


@contextmanager
def rabbitmq_server(folder: Path) -> Iterator[str]:
    """Yields the URL. No Erlang name server is started: it would stay behind, on a port that all share."""
    program = rabbitmq_program()
    assert program is not None
    port, internal = free_port(), free_port()
    environment = {
        **os.environ,
        "HOME": str(folder),  # of the cookie
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(internal),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-start_epmd false -erl_epmd_port {internal}",
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
    }
    process = subprocess.Popen([program], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"amqp://guest:guest@127.0.0.1:{port}/%2F"
    with stopped(process):
        wait_for(lambda: _speaks_amqp(url), "RabbitMQ", seconds=3 * START_SECONDS)  # with one busy core
        yield url


def _speaks_amqp(url: str) -> bool:
    import pika

    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
    except pika.exceptions.AMQPError:
        return False  # still starting up
    return True
