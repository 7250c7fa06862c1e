"""Deliveries as Prometheus is told of them."""

from __future__ import annotations

import pytest
from django.utils import timezone
from prometheus_client import REGISTRY

from detection import gauges, runner
from detection.models import WebhookDelivery
from detection.webhooks import delivery
from tests import factories
from tests.fakes import FakePipeline
from tests.receiver import Answer

pytestmark = pytest.mark.django_db


def attempts(outcome: str) -> float:
    return REGISTRY.get_sample_value("veriframe_webhook_attempts_total", {"outcome": outcome}) or 0.0


def waiting() -> float:
    samples = [sample for metric in gauges.Everything().collect() for sample in metric.samples]
    (length,) = [s.value for s in samples if s.name == "veriframe_queue_length" and s.labels == {"kind": "webhook"}]
    return length


def test_each_attempt_is_counted_by_what_became_of_it(owner, webhook, receiver, committed):
    receiver.answers = [Answer(500), Answer(200)]
    before = {outcome: attempts(outcome) for outcome in ("retried", "delivered")}
    with committed():
        runner.run(factories.make_analysis(owner).pk, engine=FakePipeline())
    assert waiting() == 1
    row = WebhookDelivery.objects.get()
    for outcome in ("retried", "delivered"):
        WebhookDelivery.objects.update(next_try_at=timezone.now())
        delivery.attempt(row.pk)
        assert attempts(outcome) == before[outcome] + 1
    assert waiting() == 0
