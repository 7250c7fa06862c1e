"""What this process has counted of analyses and webhooks since it began, for Prometheus; see ``config.metrics``.

Labels are words of this program and of the model registry, never anything that a user sent.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from detection.engine.types import AnalysisResult

STAGE_SECONDS = Histogram(
    "veriframe_stage_seconds",
    "Seconds that one stage of an analysis took.",
    ["kind", "stage"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
ANALYSIS_SECONDS = Histogram(
    "veriframe_analysis_seconds",
    "Seconds that the engine took for an analysis.",
    ["kind"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800),
)
VERDICTS = Counter("veriframe_verdicts_total", "Results by verdict and model.", ["kind", "verdict", "model", "version"])
FAILURES = Counter("veriframe_failures_total", "Analyses that failed, by code.", ["code"])
UPLOAD_BYTES = Histogram(
    "veriframe_upload_bytes",
    "Sizes of the files that were taken.",
    ["kind"],
    buckets=(1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9),
)
WEBHOOKS = Counter("veriframe_webhook_attempts_total", "Attempts to deliver a webhook, by outcome.", ["outcome"])


def count_result(result: AnalysisResult) -> None:
    """One analysis has been done, and is stored."""
    kind, model = result.media.kind, result.model
    VERDICTS.labels(kind, result.verdict, model.name, model.version).inc()
    for stage, seconds in result.timings.items():
        if stage == "total":
            ANALYSIS_SECONDS.labels(kind).observe(seconds)
        else:
            STAGE_SECONDS.labels(kind, stage).observe(seconds)
