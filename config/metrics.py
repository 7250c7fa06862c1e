"""Figures for Prometheus: what web server and workers count about themselves, and who may read it.

Each process has figures and a port of its own, ``VERIFRAME_METRICS_PORT`` or the next free one; the web server also
answers at ``/metrics``. prometheus-client's other way, files that all processes of a machine write into, was weighed:
it ends at the machine, leaves files behind whoever is killed, and cannot say what each process uses of memory and CPU.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from socket import AF_INET6
from time import perf_counter
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import constant_time_compare
from django.utils.decorators import sync_and_async_middleware
from dramatiq import Broker, Middleware
from dramatiq.broker import MessageProxy
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from config import signs

logger = logging.getLogger(__name__)

PATH = "/metrics"
PORTS = 32  # that are tried; several worker processes of one machine take one after the other
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUESTS = Counter("veriframe_requests_total", "Requests that were answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "veriframe_request_seconds",
    "Seconds until an answer began.",
    ["route"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
SOCKETS = Gauge("veriframe_open_websockets", "WebSockets that are open.")
MESSAGES = Counter("veriframe_messages_total", "Messages that this worker processed.", ["actor", "outcome"])
JOB_RUNS = Counter("veriframe_job_runs_total", "Runs of the regular jobs in this process.", ["name", "outcome"])


# -- What is counted --------------------------------------------------------------------------------------------------


def route_of(request: HttpRequest) -> str:
    """The name of the address, never the address: what people ask for must not make new series, nor be kept."""
    match = request.resolver_match
    if match is None:
        return "static" if request.path_info.startswith(settings.STATIC_URL) else "none"
    return "admin" if "admin" in match.namespaces else match.view_name or "none"


def count_request(method: str | None, route: str, status: int) -> None:
    REQUESTS.labels(method if method in METHODS else "other", route, str(status)).inc()


@sync_and_async_middleware
def middleware(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Counts each request when its answer begins, and how long that took."""

    def count(request: HttpRequest, response: HttpResponseBase, began: float) -> HttpResponseBase:
        route = route_of(request)
        count_request(request.method, route, response.status_code)
        REQUEST_SECONDS.labels(route).observe(perf_counter() - began)
        return response

    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            began = perf_counter()
            return count(request, await get_response(request), began)

        return answer_async  # type: ignore[return-value]

    def answer(request: HttpRequest) -> HttpResponseBase:
        began = perf_counter()
        return count(request, get_response(request), began)

    return answer


class CountedSockets:
    """ASGI: counts the WebSockets that are open."""

    def __init__(self, app: Callable[[Any, Any, Any], Any]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with SOCKETS.track_inprogress():
            await self.app(scope, receive, send)


@contextmanager
def counted_job(path: str) -> Iterator[None]:
    """Around one run of one of ``settings.JOBS``."""
    outcome = "failed"
    try:
        yield
        outcome = "done"
        signs.note_job(path)
    finally:
        JOB_RUNS.labels(path, outcome).inc()


class WorkerMetrics(Middleware):
    """Counts messages, and opens the port of a worker process."""

    def after_process_boot(self, broker: Broker) -> None:
        if not settings.EMBEDDED:  # there the web server has it
            listen()

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        MESSAGES.labels(message.actor_name, "done" if exception is None else "failed").inc()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        MESSAGES.labels(message.actor_name, "skipped").inc()


# -- Who may read it --------------------------------------------------------------------------------------------------


def permitted(authorization: str, address: str) -> bool:
    """With the token, or from one of the networks; nobody where neither is set.

    Args:
        authorization: the header, ``Bearer TOKEN``.
        address: where the request comes from; empty if nobody knows for sure.
    """
    scheme, _space, shown = authorization.partition(" ")
    token = settings.METRICS_TOKEN
    if token and scheme.lower() == "bearer" and constant_time_compare(shown.strip(), token):
        return True
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in settings.METRICS_NETWORKS)


# -- The port ---------------------------------------------------------------------------------------------------------


def guarded(registry: Collector) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """A WSGI application that answers at ``PATH`` to those who may read, and 404 to everything else."""
    answer = make_wsgi_app(registry)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        may = permitted(environ.get("HTTP_AUTHORIZATION", ""), environ.get("REMOTE_ADDR", ""))
        if environ["PATH_INFO"] != PATH or not may:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"There is nothing here.\n"]
        try:
            found: Iterable[bytes] = answer({**environ, "QUERY_STRING": ""}, start_response)
        finally:
            connections.close_all()  # this thread ends with the answer
        return found

    return application


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name upstream)
        """Who asks for figures is not worth a line."""


class _Server6(ThreadingWSGIServer):
    address_family = AF_INET6


def listen(registry: Collector = REGISTRY) -> int | None:
    """Answer on a port from now on, in a thread. Returns the port; None if there is to be none, or none is free."""
    if not settings.METRICS_PORT:
        return None
    kind = _Server6 if ":" in settings.METRICS_HOST else ThreadingWSGIServer
    for port in range(settings.METRICS_PORT, settings.METRICS_PORT + PORTS):
        try:
            server = make_server(settings.METRICS_HOST, port, guarded(registry), kind, _Quiet)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            logger.error("no figures for Prometheus: cannot listen at %s: %s", settings.METRICS_HOST, error.strerror)
            return None
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        logger.info("figures for Prometheus at %s port %d", settings.METRICS_HOST, port)
        return port
    logger.error("no figures for Prometheus: none of %d ports from %d on is free", PORTS, settings.METRICS_PORT)
    return None
