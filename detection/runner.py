"""What a worker does with one analysis: claim, run the engine, store.

With ``judges`` the only Django module that runs the engine, and so loads OpenCV, PyAV and LiteRT.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone
from dramatiq import Retry
from dramatiq.middleware import Shutdown, TimeLimitExceeded

from config.time_limit import set_limit
from detection import dead_letters, metrics, notices, progress, retention, serving, storage
from detection.engine import explain
from detection.engine.album import MOST_PICTURES, portrait_rank
from detection.engine.errors import Cancelled, EngineError, ErrorCode
from detection.engine.pipeline import Pipeline
from detection.engine.types import (
    AnalysisResult,
    Event,
    FaceScore,
    MediaKind,
    Mode,
    Progress,
    RGBImage,
    Scored,
    Stage,
    TrackResult,
)
from detection.judges import Trial, pipeline
from detection.models import Analysis, FaceTrack, Rerun, Upload
from detection.models import FaceScore as FaceScoreRow
from detection.problems import disk_full
from detection.reports import words
from detection.review import services as review
from detection.webhooks import outbox

logger = logging.getLogger(__name__)

Status = Analysis.Status
PATIENCE = 300.0  # seconds that a database may be away before a worker lets go of what it has in hand
PAUSE = 1.0  # seconds between two looks for it
NO_ROOM_PAUSE = 60_000  # milliseconds; more after each attempt
WRITE_EVERY = 0.25  # seconds between two writes of progress
RENEW_EVERY = 3.0  # seconds between two while there is no progress to tell of
MAX_POINTS = 2000  # kept for the curve, see _thinned


def run(analysis_id: uuid.UUID, *, engine: Callable[[], Pipeline] = pipeline) -> None:
    """Do one analysis, if it waits to be done. A message that comes twice does nothing the second time.

    Every outcome is stored and then the message is done, also after a bug: the traceback is in the log, and
    raising again would only have Dramatiq log it once more and retry for a row that has ended. What does escape
    is no fault of the file: a database that was away, a full disk, a worker's shutdown. Dramatiq tries those again,
    and the sweeper after it.
    """
    claim = Claim.take(analysis_id)
    if claim is None:
        return
    try:
        set_limit(claim.time_limit())
        storage.store().remove_leftovers(claim.analysis)  # one that is still alive has lost its claim anyway
        _work(claim, engine)
    except Cancelled:
        logger.info("analysis %s: stopped, it was cancelled, deleted or taken over", analysis_id)
    except EngineError as error:
        claim.fail(error.code, error.message)
    except MemoryError:
        claim.fail(ErrorCode.OUT_OF_MEMORY)
    except TimeLimitExceeded:
        claim.fail(ErrorCode.TIMED_OUT)
    except Shutdown:
        claim.hand_back()
        # Not the Shutdown itself: Dramatiq would log that with a traceback, and would wait longer.
        raise Retry("the worker stops", delay=1_000) from None
    except (OperationalError, InterfaceError) as error:
        if disk_full(error):  # the database's own
            _no_room(claim, error)
            return
        _wait_and_hand_back(claim)
        raise Retry(f"the database was away: {type(error).__name__}", delay=1_000) from None
    except storage.StorageAwayError as error:
        # As the database: no attempt. Its message is done; the sweeper sends it until the bucket is back.
        logger.error("analysis %s: the bucket is away: %s", analysis_id, error)
        claim.hand_back(sent_at=None)
    except Exception as error:
        # The outermost frame of a worker's job: a bug must end this analysis, not the worker. Less loudly if the work
        # had been taken away: then the files may have gone under our feet.
        if disk_full(error):
            _no_room(claim, error)
        elif claim.fail(ErrorCode.INTERNAL_ERROR):
            logger.exception("analysis %s: failed unexpectedly", analysis_id)
        else:
            logger.warning("analysis %s: had been taken away when this was raised", analysis_id, exc_info=error)
    finally:
        claim.clean_up()


def _wait_and_hand_back(claim: Claim) -> None:
    """The database is away, which is not the file's fault: wait until it takes the work back.

    It does not count as an attempt, unless the database was only away for this one call: then it may be the file.
    Raises what the database raises if it stays away for ``PATIENCE``: then the lease runs out, and the sweeper sends it
    again.
    """
    since = time.monotonic()
    logger.warning("analysis %s: the database is away, waiting", claim.id)
    while True:
        try:
            connection.close_if_unusable_or_obsolete()
            claim.hand_back(counts=time.monotonic() - since < PAUSE)
        except (OperationalError, InterfaceError):
            if time.monotonic() - since > PATIENCE:
                raise
            time.sleep(PAUSE)
        else:
            return


def _no_room(claim: Claim, error: BaseException) -> None:
    """The disk is full, which is the site's fault: try again later, but not for ever. Raises Retry."""
    try:
        if claim.attempts >= settings.ANALYSIS_ATTEMPTS:
            if claim.fail(ErrorCode.DISK_FULL):
                logger.error("analysis %s: the disk is full", claim.id)
                _bury(claim, error)
            return
        claim.hand_back(counts=True)
    except (OperationalError, InterfaceError):
        # Not even that is taken: then the lease runs out, and the sweeper sends it again.
        logger.error("analysis %s: the disk of the database is full", claim.id)
    raise Retry("the disk is full", delay=NO_ROOM_PAUSE * claim.attempts) from None


def _bury(claim: Claim, error: BaseException | None) -> None:
    """Tell the site's people what was given up, and let them send it again."""
    dead_letters.record(actor="analyse", args=[str(claim.id)], tries=claim.attempts, error=error)


def _work(claim: Claim, engine: Callable[[], Pipeline]) -> None:
    pictures = Pictures()
    listener = Listener(claim)
    trial = Trial.of(claim.analysis)
    with storage.store().local_copy(claim.analysis.upload, listener.wait) as source:
        result = engine().run(
            source,
            on_event=listener,
            challenger=trial.challenger if trial else None,
            mode=Mode(claim.analysis.mode),
        )
    began = time.perf_counter()
    with claim.attempt.writing() as write:
        pictures.write(result, write)
    result = replace(result, timings={**result.timings, "explain": _since(began)})
    claim.write(stage=Stage.STORING)
    _store(claim, result, pictures)
    metrics.count_result(result)
    logger.info(
        "analysis %s: %s, score %s, %.1f s",
        claim.id,
        result.verdict,
        result.score,
        result.timings.get("total", 0.0),
    )
    if trial is not None:
        trial.judge(result)


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 4)


@dataclass(slots=True)
class Claim:
    """The right to work on one analysis, until the lease runs out or somebody takes it away."""

    id: uuid.UUID
    token: uuid.UUID
    analysis: Analysis  # as it was when it was claimed, with its upload
    attempt: storage.Attempt  # at writing its pictures
    attempts: int = 1  # this one included

    @classmethod
    def take(cls, analysis_id: uuid.UUID) -> Claim | None:
        """Claim by conditional UPDATE; of several workers exactly one gets it, the others None."""
        now = timezone.now()
        claimable = Analysis.objects.filter(
            Q(status=Status.QUEUED) | Q(status=Status.RUNNING, lease_until__lt=now), pk=analysis_id
        )
        token = uuid.uuid4()
        taken = claimable.update(
            status=Status.RUNNING,
            claim_token=token,
            lease_until=now + _lease(),
            attempts=F("attempts") + 1,
            started_at=now,
            stage=Stage.PROBING,
            frames_done=0,
            frames_total=0,
            eta_seconds=None,
            points=[],
            revision=F("revision") + 1,
        )
        if not taken:
            logger.info("analysis %s: nothing to do", analysis_id)
            return None
        analysis = Analysis.objects.select_related("upload").filter(pk=analysis_id).first()
        if analysis is None:
            return None  # deleted in this very moment
        claim = cls(analysis_id, token, analysis, storage.store().attempt(analysis, token), analysis.attempts)
        if analysis.attempts > settings.ANALYSIS_ATTEMPTS:
            # Whoever tried before died of it without a word: the next one would, too.
            logger.error("analysis %s: given up after %d attempts", analysis_id, settings.ANALYSIS_ATTEMPTS)
            if claim.fail(ErrorCode.INTERNAL_ERROR):
                _bury(claim, None)
            storage.store().remove_leftovers(analysis)
            return None
        progress.publish(analysis_id, progress.updated(analysis))
        return claim

    def time_limit(self) -> float:
        """Seconds that this may take, by what the row says now: its message may be older than what is asked for."""
        if self.analysis.upload.kind == MediaKind.IMAGE:
            # What takes a picture this long is not the picture, and others wait behind it.
            return float(settings.ANALYSIS_IMAGE_TIME_LIMIT)
        if self.analysis.mode == Mode.THOROUGH:
            return float(settings.ANALYSIS_THOROUGH_TIME_LIMIT)
        return float(settings.ANALYSIS_TIME_LIMIT)

    def change(self, **values: Any) -> Analysis | None:
        """Write to the row while the claim holds. Returns the row as it is now, or None: it was taken away."""
        changed = Analysis.objects.filter(pk=self.id, status=Status.RUNNING, claim_token=self.token).update(
            **values, revision=F("revision") + 1
        )
        return Analysis.objects.filter(pk=self.id).first() if changed else None

    def write(self, *, fresh: list[list[float]] | None = None, **values: Any) -> None:
        """Write progress, renew the lease, then tell. ``fresh`` are the scores that nobody was told of yet.

        Raises:
            Cancelled: the claim is gone.
        """
        analysis = self.change(**values, lease_until=timezone.now() + _lease())
        if analysis is None:
            raise Cancelled
        events: list[progress.Event] = [progress.updated(analysis)]
        if fresh:
            events.append(progress.scored(analysis, fresh))
        progress.publish(self.id, *events)

    def end(self, status: Analysis.Status, **values: Any) -> Analysis | None:
        """Give the claim up with a status. Returns None if it was taken away before."""
        return self.change(status=status, claim_token=None, lease_until=None, eta_seconds=None, **values)

    def fail(self, code: ErrorCode, message: str = "") -> bool:
        """Store a failure and tell. Returns False if there was nothing to fail any more."""
        message = message or words.failure(code)
        with transaction.atomic():
            retention.lock_owner(analyses=self.id)
            analysis = self.end(Status.FAILED, error_code=code, error_message=message, finished_at=timezone.now())
            if analysis is None:
                return False
            retention.ended(analysis)
            review.end_without_result(analysis)
            outbox.record(analysis)
            notices.record(analysis)
        metrics.FAILURES.labels(code).inc()
        logger.info("analysis %s: failed, %s: %s", self.id, code, message)
        progress.publish(self.id, progress.updated(analysis))
        return True

    def hand_back(self, *, counts: bool = False, **values: Any) -> None:
        """Let another one begin anew. Unless ``counts``, this was no fault of the file and no attempt."""
        analysis = self.end(Status.QUEUED, attempts=F("attempts") - (0 if counts else 1), **values)
        if analysis is not None:
            logger.info("analysis %s: handed back", self.id)
            progress.publish(self.id, progress.updated(analysis))

    def clean_up(self) -> None:
        """Remove what this attempt wrote and did not store."""
        self.attempt.discard()


def _lease() -> timedelta:
    return timedelta(seconds=settings.ANALYSIS_LEASE)


@dataclass(slots=True)
class Listener:
    """Hears the engine and writes to the row, at most every ``WRITE_EVERY`` seconds and at every new stage."""

    claim: Claim
    stage: Stage = Stage.PROBING
    frames_done: int = 0
    frames_total: int = 0
    points: list[list[float]] = field(default_factory=list)
    fresh: list[list[float]] = field(default_factory=list)  # not written yet
    scoring_since: float | None = None  # monotonic
    written_at: float = 0.0

    def __call__(self, event: Event) -> None:
        """Raises Cancelled to stop the engine."""
        new_stage = False
        if isinstance(event, Scored):
            self.fresh += [[round(when, 3), round(score, 4)] for when, score in event.points]
        elif isinstance(event, Progress):
            new_stage = self._progress(event)
        if new_stage or time.monotonic() - self.written_at >= WRITE_EVERY:
            self._write()

    def wait(self) -> None:
        """Called while the file is fetched, which may take longer than a lease. Raises Cancelled."""
        if time.monotonic() - self.written_at >= RENEW_EVERY:
            self._write()

    def _progress(self, event: Progress) -> bool:
        new_stage = event.stage is not self.stage
        self.stage, self.frames_done, self.frames_total = event.stage, event.frames_done, event.frames_total
        if self.scoring_since is None and event.stage is Stage.SCORING:
            self.scoring_since = time.monotonic()
        return new_stage

    def _write(self) -> None:
        self.written_at = time.monotonic()
        fresh, self.fresh = self.fresh, []
        self.points = _thinned(self.points + fresh)
        self.claim.write(
            fresh=fresh,
            stage=self.stage,
            frames_done=self.frames_done,
            frames_total=self.frames_total,
            eta_seconds=self._eta(),
            **({"points": self.points} if fresh else {}),
        )

    def _eta(self) -> float | None:
        """Seconds left by the pace so far; None until there is a pace."""
        # The first frame was done when the clock began to run.
        paced = self.frames_done - 1
        if self.scoring_since is None or paced < 1:
            return None
        return round((time.monotonic() - self.scoring_since) / paced * (self.frames_total - self.frames_done), 1)


def _thinned(points: list[list[float]]) -> list[list[float]]:
    """At most ``MAX_POINTS``: of too many the worse one of each two neighbours stays. So the curve keeps its peaks, and
    reaches the end."""
    while len(points) > MAX_POINTS:
        points = [max(points[at : at + 2], key=lambda point: point[1]) for at in range(0, len(points), 2)]
    return points


class Pictures:
    """Crops, heat maps and thumbnails of one result: of the worst ``MOST_PICTURES`` faces, and of each person."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}  # id() of an engine's score -> its number
        self.stored: set[int] = set()  # numbers with pictures
        self.thumbnails: set[int] = set()  # tracks with one

    def write(self, result: AnalysisResult, write: storage.Write) -> None:
        scores = [score for track in result.tracks for score in track.scores]
        self.numbers = {id(score): number for number, score in enumerate(scores)}
        pictured = [(score, score.crop) for score in scores if score.crop is not None]
        for score, crop in sorted(pictured, key=lambda pair: -pair[0].score)[:MOST_PICTURES]:
            self._write_face(score, crop, write)
        for track in result.tracks:
            self._write_thumbnail(track, write)

    def _write_face(self, score: FaceScore, crop: RGBImage, write: storage.Write) -> None:
        number = self.numbers[id(score)]
        write(f"faces/{number}.jpg", explain.jpeg(crop))
        if (heatmap := explain.heatmap_png(score)) is not None:
            write(f"heatmaps/{number}.png", heatmap)
        self.stored.add(number)

    def _write_thumbnail(self, track: TrackResult, write: storage.Write) -> None:
        pictured = [(portrait_rank(score), score.crop) for score in track.scores if score.crop is not None]
        if pictured:
            _rank, crop = max(pictured, key=lambda pair: pair[0])
            write(f"tracks/{track.id}.jpg", explain.jpeg(crop))
            self.thumbnails.add(track.id)


def _store(claim: Claim, result: AnalysisResult, pictures: Pictures) -> None:
    """Everything or nothing, and only while the claim holds."""
    began = time.perf_counter()
    with transaction.atomic():
        retention.lock_owner(analyses=claim.id)
        analysis = claim.end(
            Status.SUCCEEDED,
            finished_at=timezone.now(),
            verdict=result.verdict,
            score=result.score,
            threshold=result.model.threshold,
            suspicious_threshold=result.model.suspicious_threshold,
            reasons=[{"code": reason.code, "message": reason.message} for reason in result.reasons],
            total_frames=result.total_frames,
            deepfake_frames=result.deepfake_frames,
            frames_done=result.total_frames,
            frames_total=result.total_frames,
            **serving.columns(result.model),
            **_unreviewed(claim.analysis, result),
        )
        if analysis is None:
            raise Cancelled
        _note_rerun(analysis)
        media = result.media
        Upload.objects.filter(pk=analysis.upload_id).update(
            width=media.width, height=media.height, duration=media.duration, fps=media.fps
        )
        _store_tracks(analysis, result, pictures)
        # What comes after it is not in it: the commit, and moving the pictures to where they stay.
        analysis.timings = {**result.timings, "store": _since(began)}
        analysis.save(update_fields=["timings"])
        retention.ended(analysis)
        outbox.record(analysis)
        notices.record(analysis)
        claim.attempt.put_in_place()
    progress.publish(claim.id, progress.updated(analysis))


def _unreviewed(before: Analysis, result: AnalysisResult) -> dict[str, Any]:
    """What the row says of reviewers once this result stands; ``before`` is the row as it was claimed.

    It still names its model where the same one was asked again and people's verdict was to stay in force (see
    ``services.retry``). Should another one have been activated since, this is nobody's opinion yet.
    """
    if not before.model_name or serving.columns_of(before) == serving.columns(result.model):
        return {}
    review.supersede(before, by=None)
    return {"reviewed_verdict": "", "reviewed_at": None, "review_unseen": False}


def _note_rerun(analysis: Analysis) -> None:
    """Staff see what a new run changed, also after the next one."""
    Rerun.objects.filter(analysis=analysis, new_verdict="").update(
        new_model_name=analysis.model_name,
        new_model_version=analysis.model_version,
        new_verdict=analysis.verdict,
        new_score=analysis.score,
    )


def _store_tracks(analysis: Analysis, result: AnalysisResult, pictures: Pictures) -> None:
    FaceTrack.objects.filter(analysis=analysis).delete()
    tracks = FaceTrack.objects.bulk_create(
        FaceTrack(
            analysis=analysis,
            number=track.id,
            score=track.score,
            verdict=track.verdict,
            reasons=[{"code": reason.code, "message": reason.message} for reason in track.reasons],
            segments=[{"start": segment.start, "end": segment.end} for segment in track.segments],
            has_thumbnail=track.id in pictures.thumbnails,
        )
        for track in result.tracks
    )
    FaceScoreRow.objects.bulk_create(
        (
            _score_row(row, score, pictures)
            for row, track in zip(tracks, result.tracks, strict=True)
            for score in track.scores
        ),
        batch_size=500,
    )


def _score_row(track: FaceTrack, score: FaceScore, pictures: Pictures) -> FaceScoreRow:
    number = pictures.numbers[id(score)]
    return FaceScoreRow(
        track=track,
        number=number,
        frame_index=score.index,
        time=score.time,
        box=score.box.as_dict(),
        crop_box=score.crop_box.as_dict(),
        confidence=score.confidence,
        score=score.score,
        logit=score.logit,
        flagged=score.flagged,
        face_size=score.quality.face_size,
        sharpness=score.quality.sharpness,
        brightness=score.quality.brightness,
        detail=score.quality.detail,
        has_pictures=number in pictures.stored,
        has_heatmap=score.evidence is not None,
    )
