"""What a worker does with one analysis, told with an engine that does as it is told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import dramatiq
import pytest
from django.conf import LazySettings
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from dramatiq.middleware import Shutdown, TimeLimitExceeded

from detection import reports, runner, services, tasks
from detection.engine.errors import ErrorCode, MediaError, ModelError
from detection.models import Analysis, DeadLetter
from tests import factories
from tests.disks import small_disk
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db
Status = Analysis.Status


def reload(analysis: Analysis) -> Analysis:
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Everything that was told to those who watch, as JSON would carry it."""
    events: list[dict] = []
    monkeypatch.setattr("detection.progress.publish", lambda _, *new: events.extend(json.loads(json.dumps(new))))
    return events


def test_a_queued_analysis_is_run_and_stored(stored: Callable[[], list[str]]):
    analysis = factories.make_analysis()
    runner.run(analysis.pk, engine=FakePipeline(frames=4))
    done = reload(analysis)
    assert (done.status, done.verdict, done.score) == ("succeeded", "manipulated", 0.9)
    assert (done.claim_token, done.lease_until, done.attempts) == (None, None, 1)
    assert done.started_at <= done.finished_at
    assert (done.model_name, done.model_version, done.threshold) == ("fake", "7", 0.8)
    assert (done.upload.width, done.upload.duration, done.upload.fps) == (640, 4.0, 25.0)
    track = done.tracks.get()
    assert track.segments == [{"start": 0.0, "end": 0.8}]
    assert [score.number for score in track.scores.all()] == [0, 1, 2, 3]
    folder = f"{done.upload_id}/{done.pk}"
    pictures = [f"{folder}/faces/{n}.jpg" for n in range(4)] + [f"{folder}/heatmaps/{n}.png" for n in range(4)]
    assert stored() == [*pictures, f"{folder}/tracks/0.jpg", f"{done.upload_id}/source.jpg"]


def test_every_picture_that_the_report_names_is_there(stored: Callable[[], list[str]]):
    analysis = factories.make_analysis()
    runner.run(analysis.pk, engine=FakePipeline())
    done = reload(analysis)
    result = reports.analysis_payload(done)["result"]
    faces = [face for frame in result["frames"] for face in frame["faces"]]
    urls = [face[key] for face in faces for key in ("crop_url", "heatmap_url")]
    urls += [track["thumbnail_url"] for track in result["tracks"]]
    assert {url.replace(f"/media/{done.pk}", f"{done.upload_id}/{done.pk}") for url in urls} == set(stored()) - {
        f"{done.upload_id}/source.jpg"
    }


def test_what_explaining_and_storing_took_stands_beside_the_engines_stages():
    analysis = factories.make_analysis()
    runner.run(analysis.pk, engine=FakePipeline())
    timings = reload(analysis).timings
    assert set(timings) == {"explain", "store", "total"}
    assert timings["total"] == 0.1  # the engine's own
    assert timings["explain"] > 0
    assert timings["store"] > 0


def test_those_who_watch_hear_everything_once_and_the_end_last(published: list[dict], monkeypatch):
    monkeypatch.setattr(runner, "WRITE_EVERY", 0.0)
    analysis = factories.make_analysis()
    runner.run(analysis.pk, engine=FakePipeline(frames=4))
    points = [point for event in published if event["type"] == "analysis.scored" for point in event["points"]]
    assert points == [[0.0, 0.2], [0.4, 0.4], [0.8, 0.6], [1.2, 0.8]]
    updates = [event for event in published if event["type"] == "analysis.updated"]
    assert [event["status"] for event in updates] == ["running"] * (len(updates) - 1) + ["succeeded"]
    assert [event["percent"] for event in updates] == sorted(event["percent"] for event in updates)
    assert [event["revision"] for event in updates] == sorted({event["revision"] for event in updates})
    assert updates[-1] == published[-1]
    assert (updates[-1]["verdict"], updates[-1]["score"], updates[-1]["percent"]) == ("manipulated", 0.9, 100)


def test_progress_is_written_at_most_four_times_a_second_but_nothing_is_lost(published: list[dict]):
    analysis = factories.make_analysis()
    runner.run(analysis.pk, engine=FakePipeline(frames=200))
    done = reload(analysis)
    assert len(done.points) == 200
    assert sum(len(event["points"]) for event in published if event["type"] == "analysis.scored") == 200
    assert len(published) < 60


def test_what_was_scored_so_far_stands_in_the_row_while_it_runs(monkeypatch):
    monkeypatch.setattr(runner, "WRITE_EVERY", 0.0)
    analysis = factories.make_analysis()
    seen = []

    def look(frame: int) -> None:
        row = reload(analysis)
        seen.append((row.status, row.stage, row.frames_done, row.points))

    runner.run(analysis.pk, engine=FakePipeline(frames=3, between=look))
    assert seen[0] == ("running", "probing", 0, [])
    assert seen[2] == ("running", "scoring", 2, [[0.0, 0.25], [0.4, 0.5]])


def test_time_left_follows_the_pace(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(runner.time, "monotonic", lambda: float(next(clock)))
    analysis = factories.make_analysis()
    left = []
    runner.run(analysis.pk, engine=FakePipeline(frames=6, between=lambda _: left.append(reload(analysis).eta_seconds)))
    assert left[:2] == [None, None]
    assert all(seconds > 0 for seconds in left[2:])
    assert reload(analysis).eta_seconds is None


def test_the_same_message_twice_does_nothing_the_second_time():
    analysis = factories.make_analysis()
    engine = FakePipeline()
    runner.run(analysis.pk, engine=engine)
    first = reload(analysis)
    runner.run(analysis.pk, engine=engine)
    assert engine.runs == 1
    assert reload(analysis).revision == first.revision


def test_a_message_for_a_running_analysis_does_nothing():
    analysis = factories.make_analysis()
    other = FakePipeline()
    engine = FakePipeline(between=lambda frame: runner.run(analysis.pk, engine=other))
    runner.run(analysis.pk, engine=engine)
    assert (engine.runs, other.runs) == (1, 0)
    assert reload(analysis).status == "succeeded"


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_a_message_for_an_ended_analysis_does_nothing(status: str):
    analysis = factories.make_analysis(status=status)
    engine = FakePipeline()
    runner.run(analysis.pk, engine=engine)
    assert engine.runs == 0
    assert reload(analysis).status == status


def test_a_message_for_an_analysis_that_is_gone_does_nothing():
    runner.run(uuid4(), engine=FakePipeline())


def test_a_stale_lease_is_taken_over_and_the_old_worker_stops(stored: Callable[[], list[str]], monkeypatch):
    """The first worker hangs so long that a second one takes over; then it wakes up."""
    monkeypatch.setattr(runner, "WRITE_EVERY", 0.0)
    analysis = factories.make_analysis()
    second = FakePipeline(frames=2)

    def hang(frame: int) -> None:
        if frame == 1:
            Analysis.objects.filter(pk=analysis.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
            runner.run(analysis.pk, engine=second)

    runner.run(analysis.pk, engine=FakePipeline(frames=4, between=hang))
    done = reload(analysis)
    assert second.runs == 1
    assert (done.status, done.attempts, done.total_frames) == ("succeeded", 2, 2)
    assert sum("/faces/" in path for path in stored()) == 2
    assert not [path for path in stored() if "/." in path]


def test_a_lease_is_renewed_by_progress(monkeypatch, settings: LazySettings):
    monkeypatch.setattr(runner, "WRITE_EVERY", 0.0)
    settings.ANALYSIS_LEASE = 60
    analysis = factories.make_analysis()
    leases = []
    engine = FakePipeline(frames=3, between=lambda _: leases.append(reload(analysis).lease_until))
    runner.run(analysis.pk, engine=engine)
    assert leases == sorted(set(leases))
    assert len(leases) == 3


def test_cancelling_stops_the_engine_and_leaves_no_file(stored: Callable[[], list[str]], monkeypatch):
    monkeypatch.setattr(runner, "WRITE_EVERY", 0.0)
    analysis = factories.make_analysis()
    seen = []

    def cancel(frame: int) -> None:
        seen.append(frame)
        if frame == 1:
            services.cancel(analysis=reload(analysis))

    runner.run(analysis.pk, engine=FakePipeline(frames=9, between=cancel))
    assert seen == [0, 1]
    done = reload(analysis)
    assert (done.status, done.verdict, done.claim_token) == ("cancelled", "", None)
    assert stored() == [f"{done.upload_id}/source.jpg"]


def test_deleting_stops_the_engine_and_leaves_nothing(
    stored: Callable[[], list[str]], media_root: Path, django_capture_on_commit_callbacks
):
    analysis = factories.make_analysis()

    def delete(frame: int) -> None:
        if frame == 3:
            with django_capture_on_commit_callbacks(execute=True):
                services.delete(analysis=reload(analysis))

    runner.run(analysis.pk, engine=FakePipeline(frames=4, between=delete))
    assert not Analysis.objects.exists()
    assert list(media_root.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (MediaError(ErrorCode.UNREADABLE_MEDIA, "This is no video."), "unreadable_media"),
        (MediaError(ErrorCode.MEDIA_TOO_LONG, "Too long."), "media_too_long"),
        (ModelError("The model is missing."), "model_unavailable"),
        (MemoryError(), "out_of_memory"),
        (TimeLimitExceeded(), "timed_out"),
        (ZeroDivisionError("a bug"), "internal_error"),
    ],
)
def test_each_way_to_fail_has_its_code(raised: BaseException, code: str, stored: Callable[[], list[str]]):
    def fail(frame: int) -> None:
        raise raised

    analysis = factories.make_analysis()
    runner.run(analysis.pk, engine=FakePipeline(between=fail))
    done = reload(analysis)
    assert (done.status, done.error_code, done.verdict, done.score) == ("failed", code, "", None)
    assert done.error_message
    assert "a bug" not in done.error_message
    assert done.finished_at is not None
    assert stored() == [f"{done.upload_id}/source.jpg"]


def test_a_bug_is_in_the_log_with_its_traceback(caplog: pytest.LogCaptureFixture):
    def fail(frame: int) -> None:
        raise ZeroDivisionError("a bug")

    runner.run(factories.make_analysis().pk, engine=FakePipeline(between=fail))
    record = next(r for r in caplog.records if r.levelname == "ERROR")
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


def test_a_bug_is_in_the_log_even_if_the_analysis_was_cancelled_meanwhile(caplog: pytest.LogCaptureFixture):
    analysis = factories.make_analysis()

    def cancel_and_fail(frame: int) -> None:
        services.cancel(analysis=reload(analysis))
        raise ZeroDivisionError("a bug")

    runner.run(analysis.pk, engine=FakePipeline(between=cancel_and_fail))
    assert reload(analysis).status == "cancelled"
    assert any(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)
    assert "had been taken away" in caplog.text


@pytest.mark.django_db(transaction=True)  # the worker closes its connection
@pytest.mark.parametrize("away", [OperationalError, InterfaceError])
def test_a_database_that_is_away_is_not_blamed_on_the_file(away: type[Exception], stored: Callable[[], list[str]]):
    analysis = factories.make_analysis()

    def lose_the_database(frame: int) -> None:
        raise away("server closed the connection unexpectedly")

    with pytest.raises(dramatiq.Retry):
        runner.run(analysis.pk, engine=FakePipeline(between=lose_the_database))
    left = reload(analysis)
    assert (left.status, left.error_code, left.claim_token) == ("queued", "", None)
    assert stored() == [f"{left.upload_id}/source.jpg"]

    runner.run(analysis.pk, engine=FakePipeline())
    done = reload(analysis)
    assert (done.status, done.attempts) == ("succeeded", 2)


@pytest.mark.django_db(transaction=True)  # the worker closes its connection
def test_a_worker_waits_for_the_database_and_then_hands_its_work_back(monkeypatch: pytest.MonkeyPatch):
    """What it could do nothing about is no attempt."""
    monkeypatch.setattr(runner, "PAUSE", 0.01)
    hand_back, refusals = runner.Claim.hand_back, [OperationalError("starting up")] * 3

    def at_the_fourth_time(claim: runner.Claim, **options: bool) -> None:
        if refusals:
            raise refusals.pop()
        hand_back(claim, **options)

    monkeypatch.setattr(runner.Claim, "hand_back", at_the_fourth_time)
    analysis = factories.make_analysis()

    def lose_the_database(frame: int) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.raises(dramatiq.Retry):
        runner.run(analysis.pk, engine=FakePipeline(between=lose_the_database))
    back = reload(analysis)
    assert (back.status, back.attempts) == ("queued", 0)


@pytest.mark.django_db(transaction=True)  # the worker closes its connection
def test_a_worker_does_not_wait_for_the_database_for_ever(monkeypatch: pytest.MonkeyPatch):
    """The lease runs out then, and the sweep sends the analysis again."""
    monkeypatch.setattr(runner, "PATIENCE", -1.0)
    analysis = factories.make_analysis()

    def lost(*args: object, **options: bool) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(runner.Claim, "hand_back", lost)
    with pytest.raises(OperationalError):
        runner.run(analysis.pk, engine=FakePipeline(between=lost))
    assert reload(analysis).status == "running"


def test_a_full_disk_is_tried_again_and_then_said(settings: LazySettings, media_root: Path, stored):
    """A real one, of 64 KiB: the pictures do not fit."""
    settings.ANALYSIS_ATTEMPTS = 2
    with small_disk(media_root):
        analysis = factories.make_analysis()
        with pytest.raises(dramatiq.Retry) as retry:
            runner.run(analysis.pk, engine=FakePipeline(frames=200))
        again = reload(analysis)
        assert (again.status, again.attempts, retry.value.delay) == ("queued", 1, runner.NO_ROOM_PAUSE)
        assert stored() == [f"{analysis.upload_id}/source.jpg"]
        runner.run(analysis.pk, engine=FakePipeline(frames=200))
    failed = reload(analysis)
    assert (failed.status, failed.error_code) == ("failed", "disk_full")
    letter = DeadLetter.objects.get()
    assert (letter.analysis, letter.tries, letter.error) == (analysis, 2, "OSError")
    assert letter.place.startswith("detection/")


def full(frame: int) -> None:
    """As SQLite says it, of a database that may not grow."""
    try:
        with closing(sqlite3.connect(":memory:")) as small:
            small.execute("PRAGMA max_page_count = 2")
            small.execute("CREATE TABLE a (b)")
            small.execute("INSERT INTO a VALUES (zeroblob(100000))")
    except sqlite3.OperationalError as error:
        raise OperationalError(str(error)) from error


def test_a_full_disk_of_the_database_is_tried_again_and_then_said(settings: LazySettings):
    settings.ANALYSIS_ATTEMPTS = 2
    analysis = factories.make_analysis()
    with pytest.raises(dramatiq.Retry) as retry:
        runner.run(analysis.pk, engine=FakePipeline(between=full))
    again = reload(analysis)
    assert (again.status, again.attempts, retry.value.delay) == ("queued", 1, runner.NO_ROOM_PAUSE)
    runner.run(analysis.pk, engine=FakePipeline(between=full))
    failed = reload(analysis)
    assert (failed.status, failed.error_code) == ("failed", "disk_full")


@pytest.mark.parametrize("attempts", [0, 2])
def test_a_database_that_takes_nothing_at_all_is_left_to_the_lease(
    attempts: int, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
):
    settings.ANALYSIS_ATTEMPTS = 3
    analysis = factories.make_analysis(attempts=attempts)
    monkeypatch.setattr(runner.Claim, "end", lambda claim, *args, **values: full(0))
    with pytest.raises(dramatiq.Retry):
        runner.run(analysis.pk, engine=FakePipeline(between=full))
    left = reload(analysis)
    assert (left.status, left.attempts) == ("running", attempts + 1)
    assert left.lease_until is not None
    assert not DeadLetter.objects.exists()


def test_an_engine_that_cannot_be_built_is_a_failure():
    def no_engine() -> FakePipeline:
        raise ModelError("There is no model.")

    analysis = factories.make_analysis()
    runner.run(analysis.pk, engine=no_engine)
    assert reload(analysis).error_code == "model_unavailable"


def test_a_worker_that_must_stop_hands_back_and_it_does_not_count_as_an_attempt():
    def stop(frame: int) -> None:
        if frame == 2:
            raise Shutdown

    analysis = factories.make_analysis()
    with pytest.raises(dramatiq.Retry):
        runner.run(analysis.pk, engine=FakePipeline(between=stop))
    back = reload(analysis)
    assert (back.status, back.attempts, back.claim_token) == ("queued", 0, None)
    runner.run(analysis.pk, engine=FakePipeline())
    assert reload(analysis).status == "succeeded"


def test_a_file_that_kills_its_workers_is_given_up(settings: LazySettings, media_root: Path):
    """Three workers died without a word; the fourth does not try, but tidies up."""
    settings.ANALYSIS_ATTEMPTS = 3
    analysis = factories.make_analysis(
        status="running", attempts=3, claim_token=uuid4(), lease_until=timezone.now() - timedelta(seconds=1)
    )
    (media_root / str(analysis.upload_id) / f".{analysis.pk}-{uuid4()}").mkdir()
    engine = FakePipeline()
    runner.run(analysis.pk, engine=engine)
    assert engine.runs == 0
    done = reload(analysis)
    assert (done.status, done.error_code) == ("failed", "internal_error")
    letter = DeadLetter.objects.get()
    assert (letter.actor, letter.analysis, letter.tries, letter.error) == ("analyse", analysis, 4, "WorkerLost")
    assert [path.name for path in (media_root / str(analysis.upload_id)).iterdir()] == ["source.jpg"]


def test_leftovers_of_a_dead_worker_are_removed_by_the_next_attempt(media_root: Path, stored):
    analysis = factories.make_analysis()
    leftover = media_root / str(analysis.upload_id) / f".{analysis.pk}-{uuid4()}"
    leftover.mkdir()
    (leftover / "0.jpg").write_bytes(b"half")
    runner.run(analysis.pk, engine=FakePipeline(frames=1))
    assert not [path for path in stored() if "/." in path]


def test_retrying_replaces_the_result(stored: Callable[[], list[str]], django_capture_on_commit_callbacks, queued):
    analysis = factories.make_analysis()
    runner.run(analysis.pk, engine=FakePipeline(frames=4))
    with django_capture_on_commit_callbacks(execute=True):
        services.retry(analysis=reload(analysis))
    waiting = reload(analysis)
    assert (waiting.status, waiting.verdict, waiting.score, waiting.attempts) == ("queued", "", None, 0)
    assert waiting.points == []
    assert waiting.tracks.count() == 0
    assert stored() == [f"{analysis.upload_id}/source.jpg"]
    assert queued() == [str(analysis.pk)]
    runner.run(analysis.pk, engine=FakePipeline(frames=2))
    assert sum("/faces/" in path for path in stored()) == 2
    assert reload(analysis).total_frames == 2


@pytest.mark.django_db(transaction=True)
def test_the_actor_runs_what_the_message_names(monkeypatch):
    """Broker, actor and runner together, in a real worker thread."""
    monkeypatch.setattr(runner.run, "__kwdefaults__", {"engine": FakePipeline()})
    analysis = factories.make_analysis()
    broker = dramatiq.get_broker()
    monkeypatch.setattr("django.conf.settings.JOBS", ())
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    worker.start()
    try:
        services.send(analysis.pk)
        tasks.analyse.send(str(analysis.pk))
        for queue in (tasks.IMAGES, tasks.VIDEOS):
            broker.join(queue, timeout=20_000)
    finally:
        worker.stop()
    done = reload(analysis)
    assert (done.status, done.attempts) == ("succeeded", 1)
    assert done.sent_at is not None


def test_the_actor_says_its_limits(settings: LazySettings):
    options = tasks.analyse.options
    assert tasks.analyse.queue_name == tasks.VIDEOS
    assert (options["max_retries"], options["time_limit"]) == (3, settings.ANALYSIS_TIME_LIMIT * 1000)


def test_pictures_and_videos_wait_in_queues_of_their_own(db: None):
    picture, video = factories.make_analysis(), factories.make_analysis(upload=factories.make_upload(kind="video"))
    for analysis in (video, picture):
        services.send(analysis.pk)
    queues = dramatiq.get_broker().queues
    (of_picture,) = (dramatiq.Message.decode(data) for data in queues[tasks.IMAGES].queue)
    (of_video,) = (dramatiq.Message.decode(data) for data in queues[tasks.VIDEOS].queue)
    assert (of_picture.args, of_video.args) == ((str(picture.pk),), (str(video.pk),))
