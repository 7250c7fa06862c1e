"""The models that a worker has loaded: the one that judges, and the challenger that silently judges beside it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError
from django.utils import timezone
from dramatiq.middleware import TimeLimitExceeded

from detection import serving
from detection.engine import runtimes
from detection.engine.classifier import Classifier
from detection.engine.errors import ModelError
from detection.engine.factory import EngineConfig, pipeline_of
from detection.engine.media import Limits
from detection.engine.pipeline import Pipeline
from detection.engine.registry import ModelSpec, check_files
from detection.engine.scoring import Challenger, Judgement
from detection.engine.types import AnalysisResult, Mode
from detection.engine.wire import Bounds
from detection.models import Analysis, ChallengerScore, RegisteredModel

logger = logging.getLogger(__name__)

FAILED = "analysis %s: challenger %s failed"


class _Loaded(threading.local):
    """What this worker thread has loaded, which takes a while, with the model that it was loaded for.

    Of each thread its own, because neither a pipeline nor a classifier may be shared between threads.
    """

    pipeline: tuple[ModelSpec, Pipeline] | None = None
    challenger: tuple[ModelSpec, Classifier] | None = None
    refused: tuple[ModelSpec, datetime | None] | None = None  # a challenger that could not be loaded, and since when


_loaded = _Loaded()


def pipeline() -> Pipeline:
    """The engine of this worker thread, with the model that judges now: built anew once that is another one.

    Raises ModelError if the model is missing or was changed.
    """
    spec = serving.served()
    if _loaded.pipeline is None or _loaded.pipeline[0] != spec:
        _loaded.pipeline = None  # two at once would take twice the memory
        _loaded.pipeline = spec, build(spec)
        logger.info("model %s is loaded", spec.label)
    return _loaded.pipeline[1]


def prepare() -> None:
    """Load what this thread's first analysis would wait for. If that cannot be had now, it will say why."""
    try:
        pipeline()
    except (ModelError, DatabaseError, InterfaceError) as error:
        logger.warning("the model could not be loaded in advance: %s", error)


def build(spec: ModelSpec) -> Pipeline:
    """The engine as the settings want it, with this model. Raises ModelError."""
    check_files(spec)
    config = EngineConfig(
        runtime=settings.ANALYSIS_RUNTIME,
        face_detector=settings.ANALYSIS_FACE_DETECTOR,
        yunet_model=settings.ANALYSIS_YUNET_MODEL,
        frames=settings.ANALYSIS_FRAMES,
        threads=settings.ANALYSIS_THREADS,
        limits=Limits(max_duration=settings.MAX_MEDIA_SECONDS, max_pixels=settings.MAX_PIXELS),
        sandbox=_bounds(),
    )
    return pipeline_of(spec, config)


def _bounds() -> Bounds | None:
    if not settings.SANDBOX:
        logger.warning("Media is decoded by the worker itself (VERIFRAME_SANDBOX=no).")
        return None
    return Bounds(
        memory=settings.DECODE_MEMORY_BYTES,
        seconds=settings.DECODE_SECONDS,
        thorough_seconds=settings.ANALYSIS_THOROUGH_TIME_LIMIT,  # decoding is most of it
    )


@dataclass(slots=True)
class Trial:
    """The challenger's part in one analysis: nobody waits for it, and what goes wrong in it stays in its own row."""

    analysis: Analysis
    model: RegisteredModel
    challenger: Challenger | None = None
    error: str = ""  # the class's name

    @classmethod
    def of(cls, analysis: Analysis) -> Trial | None:
        """None for most analyses: nothing is on trial, or this upload is not in its share.

        None for a thorough one, too: a challenger keeps the crop of every face.
        """
        model = serving.challenger()
        if model is None:
            _loaded.challenger = _loaded.refused = None  # its trial is over
            return None
        if analysis.mode == Mode.THOROUGH or not serving.is_drawn(model, analysis.upload):
            return None
        trial = cls(analysis, model)
        try:
            trial.challenger = Challenger(serving.spec_of(model))
        except ModelError as error:
            logger.exception(FAILED, analysis.pk, model)
            trial.error = type(error).__name__
        return trial

    def judge(self, result: AnalysisResult) -> None:
        """Once the analysis is stored: its user has the answer, and did not wait for this model to be loaded either."""
        judgement = None
        try:
            if self.challenger is not None:
                classifier = _challenging(self.challenger.spec, self.model.state_since)
                judgement = self.challenger.judge(result.media, classifier)
        except (Exception, TimeLimitExceeded) as error:  # the limit of the whole task, which is done but for this
            logger.exception(FAILED, self.analysis.pk, self.model)
            self.error = type(error).__name__
        try:
            self._store(result, judgement)
        except (OperationalError, InterfaceError, IntegrityError) as error:
            # The row of a comparison is not worth another run. Integrity: the analysis was deleted in this moment.
            logger.warning("analysis %s: the challenger's score is lost: %s", self.analysis.pk, type(error).__name__)

    def _store(self, result: AnalysisResult, judgement: Judgement | None) -> None:
        found: dict[str, Any] = {"verdict": "", "score": None, "seconds": None}
        if judgement is not None:
            found = {"verdict": judgement.verdict, "score": judgement.score, "seconds": round(judgement.seconds, 3)}
        ChallengerScore.objects.update_or_create(
            analysis_id=self.analysis.pk,
            challenger=self.model,
            model_name=result.model.name,
            model_version=result.model.version,
            defaults={
                "model_verdict": result.verdict,
                "model_score": result.score,
                "model_seconds": result.timings.get("total"),
                "error": self.error,
                "at": timezone.now(),
                **found,
            },
        )


def _challenging(spec: ModelSpec, since: datetime | None) -> Classifier:
    """Loaded once by each worker thread, like ``pipeline``.

    One that cannot be loaded is tried again once it is put on trial anew, not with each analysis.

    Args:
        since: when its trial began.

    Raises ModelError; OSError or MemoryError if its files cannot be read.
    """
    if _loaded.challenger is None or _loaded.challenger[0] != spec:
        if _loaded.refused == (spec, since):
            raise ModelError(f"Model {spec.label} could not be loaded before.")
        _loaded.challenger = None
        try:
            check_files(spec)
            _loaded.challenger = (
                spec,
                runtimes.load(spec, threads=settings.ANALYSIS_THREADS, runtime=settings.ANALYSIS_RUNTIME),
            )
        except (ModelError, OSError, MemoryError):
            _loaded.refused = spec, since
            raise
    return _loaded.challenger[1]
