"""``manage.py serve``: the site, and without Redis the worker too, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import dramatiq
import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config import layer
from config.metrics import listen
from detection import services
from detection.gauges import Everything
from detection.workers import SETS

STOP_SECONDS = 5  # for requests and the worker to come to an end


class Command(BaseCommand):
    help = "Serve the site. Without REDIS_URL the analyses run in the same process."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")

    def handle(self, *, host: str, port: int, **options: object) -> None:
        Path(settings.MEDIA_ROOT).mkdir(mode=0o700, parents=True, exist_ok=True)
        listener = _listen(host, port)
        config = uvicorn.Config(
            "config.asgi:application",
            lifespan="off",
            log_config=None,  # Django's LOGGING holds
            timeout_graceful_shutdown=STOP_SECONDS,
            proxy_headers=bool(settings.TRUSTED_PROXIES),
            server_header=False,
        )
        server = Server(config, self._announce)
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how one stops it
            server.run(sockets=[listener])

    def _announce(self, address: str) -> None:
        what = "web server and worker" if settings.EMBEDDED else "web server; workers: manage.py worker"
        self.stdout.write(f"Veriframe is ready at {address} ({what}). Stop it with Ctrl-C.")
        self.stdout.flush()


def _listen(host: str, port: int) -> socket.socket:
    """Before anything else is loaded: a port that is taken is the commonest reason not to start."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise CommandError(f"Cannot listen on {host} port {port} ({error.strerror}). Try another --port.") from None


class Server(uvicorn.Server):
    """uvicorn with a worker that lives as long as it does."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self._worker = EmbeddedWorker() if settings.EMBEDDED else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        listen(Everything())
        # Only now, with the port in hand: a second server that is started by mistake must not touch the first
        # one's work.
        if self._worker is not None:
            layer.set_server_loop(asyncio.get_running_loop())
            await asyncio.to_thread(self._worker.start)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Here and not after run(): uvicorn raises the signal that stopped it again, and SIGTERM ends the process.
        if self._worker is not None:
            await asyncio.to_thread(self._worker.stop)
        await super().shutdown(sockets)
        layer.set_server_loop(None)


class EmbeddedWorker:
    """Dramatiq workers on the in-memory broker, one for each set and with one thread each: a picture need not wait for
    a video, nor what is to be told for either."""

    def __init__(self) -> None:
        self._broker = dramatiq.get_broker()
        self._workers = [
            dramatiq.Worker(self._broker, queues=set(one.queues), worker_threads=1, worker_timeout=200)
            for one in SETS.values()
        ]

    def start(self) -> None:
        # Dramatiq's own command line sends this signal; the middleware that enforces time limits waits for it.
        self._broker.emit_after("process_boot")
        # Each worker hooks itself into the broker, which warns of a second one of its kind. Here it is meant.
        self._broker.logger.addFilter(lambda record: "same type twice" not in record.msg)
        for worker in self._workers:
            worker.start()
        # The messages of the process before died with it, and nobody else works on its analyses.
        services.requeue_unfinished(only_worker=True)

    def stop(self) -> None:
        """What runs is handed back (see ``runner.run``) and begun anew by the next start."""
        threads = [thread for worker in self._workers for thread in worker.workers]
        for thread in threads:
            thread.stop()  # begins nothing new
        # Each of them, when it stops, interrupts the threads of all: the second one would interrupt a handing back.
        for worker in self._workers:
            worker.stop(timeout=STOP_SECONDS * 1000)
            end = time.monotonic() + STOP_SECONDS
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))
