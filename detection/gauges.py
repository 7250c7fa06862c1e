"""How the site as a whole stands, read when Prometheus asks: queue, workers, jobs, model.

Only web servers tell it, each the same: take the maximum of them, not the sum.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Min, Q
from django.utils import timezone
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config import signs
from detection import dead_letters, serving
from detection.engine.errors import ModelError
from detection.engine.types import MediaKind
from detection.models import Analysis, WebhookDelivery

logger = logging.getLogger(__name__)

Status = Analysis.Status
WEBHOOK = "webhook"


class Everything(Collector):
    """This process's own figures, and the site's."""

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from _workers()
        yield _jobs()
        yield from _model()
        readable = GaugeMetricFamily("veriframe_database_readable", "Whether the rows could be read just now.")
        try:
            rows = [*_analyses(), *_queue(), _given_up()]
        except (DatabaseError, InterfaceError) as error:
            logger.warning("figures without rows: %s", type(error).__name__)
            rows = []
        readable.add_metric([], bool(rows))
        yield from [readable, *rows]


def _queue() -> Iterator[Metric]:
    now = timezone.now()
    length = GaugeMetricFamily("veriframe_queue_length", "What waits for a worker, by kind.", labels=["kind"])
    age = GaugeMetricFamily(
        "veriframe_queue_oldest_seconds", "How long the oldest has waited, by kind.", labels=["kind"]
    )
    waiting = Analysis.objects.filter(status=Status.QUEUED).order_by().values("upload__kind")
    found: dict[str, tuple[int, datetime | None]] = dict.fromkeys([*MediaKind, WEBHOOK], (0, None))
    for row in waiting.annotate(number=Count("pk"), oldest=Min(Analysis.WAITS_SINCE)):
        found[row["upload__kind"]] = (row["number"], row["oldest"])
    # What will be tried again later does not wait for a worker.
    due = WebhookDelivery.objects.filter(status=WebhookDelivery.Status.PENDING, next_try_at__lte=now)
    due = due.filter(Q(endpoint=None) | Q(endpoint__paused_at=None))
    told = due.aggregate(number=Count("pk"), oldest=Min("next_try_at"))
    found[WEBHOOK] = (told["number"], told["oldest"])
    for kind, (number, oldest) in found.items():
        length.add_metric([kind], number)
        age.add_metric([kind], 0 if oldest is None else max(0.0, (now - oldest).total_seconds()))
    yield from (length, age)


def _analyses() -> Iterator[Metric]:
    running = GaugeMetricFamily("veriframe_analyses_running", "Analyses that run, by kind.", labels=["kind"])
    lost = GaugeMetricFamily("veriframe_analyses_lost", "Analyses whose worker gives no sign of life any more.")
    rows = Analysis.objects.filter(status=Status.RUNNING).order_by().values("upload__kind")
    silent = Count("pk", filter=Q(lease_until__lt=timezone.now()))
    found = {row["upload__kind"]: row for row in rows.annotate(number=Count("pk"), lost=silent)}
    for kind in MediaKind:
        running.add_metric([kind], found[kind]["number"] if kind in found else 0)
    lost.add_metric([], sum(row["lost"] for row in found.values()))
    yield from (running, lost)


def _given_up() -> Metric:
    number = dead_letters.waiting()
    return GaugeMetricFamily("veriframe_dead_letters", "Messages given up that nobody has looked at.", number)


def _workers() -> Iterator[Metric]:
    there = signs.workers()
    known = GaugeMetricFamily("veriframe_cache_readable", "Whether the workers' signs of life could be read.")
    known.add_metric([], there is not None)
    gauge = GaugeMetricFamily(
        "veriframe_workers", "Worker processes by the queues that they listen to.", labels=["queue", "state"]
    )
    number = Counter((queue, sign.is_silent) for sign in there or [] for queue in sign.queues)
    for queue in sorted({queue for queue, _silent in number}):
        gauge.add_metric([queue, "alive"], number[queue, False])
        gauge.add_metric([queue, "silent"], number[queue, True])
    yield from (known, gauge)


def _jobs() -> Metric:
    gauge = GaugeMetricFamily(
        "veriframe_job_last_success_timestamp_seconds", "When each regular job was done last.", labels=["name"]
    )
    for path, when in signs.jobs_done(path for path, _seconds in settings.JOBS).items():
        gauge.add_metric([path], when)
    return gauge


def _model() -> Iterator[Metric]:
    """The model that new analyses are judged by; none if its file is missing, which ``/ready/`` says, too."""
    gauge = GaugeMetricFamily("veriframe_model_info", "The model in service.", labels=["model", "version", "sha256"])
    try:
        spec = serving.served()
    except ModelError:
        return
    gauge.add_metric([spec.name, str(spec.version), spec.sha256[:12]], 1)
    yield gauge
