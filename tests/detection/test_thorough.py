"""Looking more closely: asked for with a file or afterwards, kept by new runs, and said wherever a result is shown."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta

import dramatiq
import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from accounts.models import User
from detection import judges, reports, runner, selectors, services, serving
from detection.models import Analysis, FaceScore, FaceTrack, Upload
from detection.reports import figures, table, words
from detection.reports.pdf import report_pdf
from detection.review import services as review
from tests import clips, factories
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db
LIST = "/api/v1/analyses/"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clips.video(tmp_path_factory.mktemp("film") / "film.mp4", frames=5).read_bytes()


def send(client: Client, content: bytes, *, name: str = "film.mp4", path: str = LIST, key: str = "", **data):
    headers = {"Accept": "application/json"} | ({"Idempotency-Key": key} if key else {})
    return client.post(path, {"file": factories.uploaded(name, content), **data}, headers=headers)


def finished(user: User, *, mode: str = "standard", kind: str = "video", **fields) -> Analysis:
    analysis = factories.make_result(user)
    upload = analysis.upload
    upload.kind, upload.mime, upload.duration = kind, "video/mp4", 600.0
    upload.save()
    values = {"mode": mode, "total_frames": 600, "finished_at": timezone.now(), **fields}
    Analysis.objects.filter(pk=analysis.pk).update(**serving.columns(serving.served()), **values)
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


# -- Asking for it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [LIST, "/upload/"])
@pytest.mark.parametrize(("said", "mode"), [({}, "standard"), ({"mode": "thorough"}, "thorough")])
def test_it_is_asked_for_with_the_file(owner_client: Client, film: bytes, path: str, said: dict, mode: str):
    answer = send(owner_client, film, path=path, **said)
    assert (answer.status_code, answer.json()["mode"]) == (202, mode)
    assert Analysis.objects.get().mode == mode
    assert owner_client.get(answer.json()["poll_url"]).json()["mode"] == mode


def test_a_browser_s_form_has_both_and_the_usual_one_is_chosen(owner_client: Client, film: bytes):
    page = owner_client.get("/").content.decode()
    assert 'name="mode" value="standard" id="id_mode_0" checked' in " ".join(page.split())
    assert "Scores 32 frames at most, spread over the whole video." in page
    files = {"file": [factories.uploaded("a.mp4", film), factories.uploaded("b.jpg")], "mode": "thorough"}
    owner_client.post("/upload/", files)
    assert dict(Analysis.objects.values_list("upload__kind", "mode")) == {"video": "thorough", "image": "standard"}


@pytest.mark.parametrize("path", [LIST, "/upload/"])
def test_a_mode_that_there_is_not(owner_client: Client, film: bytes, path: str):
    answer = send(owner_client, film, path=path, mode="lazy")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "lazy" in answer.json()["detail"]


def test_the_older_servers_route_takes_it_too(owner_client: Client, film: bytes, settings: LazySettings):
    settings.PREDICT_SECONDS = 0
    assert send(owner_client, film, path="/predict", mode="thorough").status_code == 202
    assert Analysis.objects.get().mode == "thorough"


# -- Twice ------------------------------------------------------------------------------------------------------------


def test_what_was_found_before_answers_for_the_same_mode_only(owner_client: Client, film: bytes):
    usual = send(owner_client, film).json()["id"]
    now = timezone.now()
    done = {"status": "succeeded", "verdict": "authentic", "started_at": now, "finished_at": now}
    Analysis.objects.update(**serving.columns(serving.served()), **done)
    answer = send(owner_client, film, mode="thorough")
    assert (answer.status_code, answer.json()["reused"]) == (202, False)
    assert send(owner_client, film, mode="standard").json()["id"] == usual
    Analysis.objects.update(**serving.columns(serving.served()), **done)
    assert send(owner_client, film, mode="thorough").json()["id"] == answer.json()["id"]


def test_of_a_picture_there_is_one_answer(owner_client: Client):
    first = send(owner_client, factories.jpeg(), name="face.jpg").json()["id"]
    done = {"status": "succeeded", "verdict": "authentic", "finished_at": timezone.now()}
    Analysis.objects.update(**serving.columns(serving.served()), **done)
    answer = send(owner_client, factories.jpeg(), name="face.jpg", mode="thorough")
    assert (answer.json()["id"], answer.json()["mode"], answer.json()["reused"]) == (first, "standard", True)


def test_a_key_stands_for_one_mode(owner_client: Client, film: bytes):
    send(owner_client, film, key="k", mode="thorough")
    assert "Idempotent-Replayed" in send(owner_client, film, key="k", mode="thorough")
    assert send(owner_client, film, key="k").json()["code"] == "idempotency_key_reused"


# -- Anew -------------------------------------------------------------------------------------------------------------


def test_a_new_run_looks_as_closely_as_the_one_before(owner_client: Client, owner: User):
    analysis = finished(owner, mode="thorough")
    owner_client.post(f"/analyses/{analysis.pk}/retry/")
    analysis.refresh_from_db()
    assert (analysis.status, analysis.mode) == ("queued", "thorough")
    Analysis.objects.update(status="failed")
    assert owner_client.post(f"{LIST}{analysis.pk}/retry/").json()["mode"] == "thorough"


def test_a_result_can_be_looked_into_more_thoroughly(owner_client: Client, owner: User):
    analysis = finished(owner)
    assert 'value="thorough"' in owner_client.get(analysis.get_absolute_url()).content.decode()
    answer = owner_client.post(f"/analyses/{analysis.pk}/retry/", {"mode": "thorough"})
    assert (answer.status_code, answer["Location"]) == (302, analysis.get_absolute_url())
    analysis.refresh_from_db()
    assert (analysis.status, analysis.mode, analysis.verdict) == ("queued", "thorough", "")
    assert not analysis.tracks.exists()


@pytest.mark.parametrize("changes", [{"mode": "thorough"}, {"kind": "image"}])
def test_it_is_offered_where_there_is_more_to_see(owner_client: Client, owner: User, changes: dict):
    page = owner_client.get(finished(owner, **changes).get_absolute_url()).content.decode()
    assert "Look more thoroughly" not in page
    assert "Run again" in page


@pytest.mark.parametrize(("kind", "more"), [("video", True), ("image", False)])
def test_that_a_new_run_replaces_the_result_is_said_where_it_is_begun(
    owner_client: Client, owner: User, kind: str, more: bool
):
    page = owner_client.get(finished(owner, kind=kind).get_absolute_url()).content.decode()
    (said,) = re.findall(r'<p class="quiet" id="new-run">(.*?)</p>', page, re.DOTALL)
    assert "A new run replaces this result." in said
    assert ("at least one frame a second" in said) == more
    assert page.count('aria-describedby="new-run"') == 1 + more
    history = owner_client.get("/analyses/").content.decode()
    assert "A new run replaces the result there was." in history


def test_nothing_is_said_where_no_run_can_be_begun(owner_client: Client, owner: User):
    analysis = finished(owner)
    Upload.objects.update(media_deleted_at=timezone.now())
    assert "A new run" not in owner_client.get(analysis.get_absolute_url()).content.decode()


@pytest.mark.parametrize("status", ["failed", "cancelled"])
@pytest.mark.parametrize("mode", ["standard", "thorough"])
def test_what_did_not_end_well_can_be_looked_at_as_usual(owner_client: Client, owner: User, status: str, mode: str):
    """A thorough look may have taken too long."""
    analysis = finished(owner, mode=mode, status=status, verdict="")
    page = owner_client.get(analysis.get_absolute_url()).content.decode()
    assert ("Look less closely" in page) == (mode == "thorough")
    owner_client.post(f"/analyses/{analysis.pk}/retry/", {"mode": "standard"})
    analysis.refresh_from_db()
    assert (analysis.status, analysis.mode) == ("queued", "standard")


def test_programs_choose_the_mode_of_a_new_run(owner_client: Client, owner: User, stranger: User):
    analysis = finished(owner)
    url = f"{LIST}{analysis.pk}/retry/"
    answer = owner_client.post(url, json.dumps({"mode": "thorough"}), content_type="application/json")
    assert (answer.status_code, answer.json()["mode"]) == (202, "thorough")
    Analysis.objects.update(status="failed")
    assert owner_client.post(url, {"mode": "standard"}).json()["mode"] == "standard"
    for path in (url, f"/analyses/{analysis.pk}/retry/"):
        assert owner_client.post(path, {"mode": "lazy"}).status_code == 400
    other = Client()
    other.force_login(stranger)
    assert other.post(url, {"mode": "lazy"}).status_code == 404


def test_a_picture_is_not_looked_at_more_thoroughly(owner: User):
    analysis = finished(owner, kind="image")
    services.retry(analysis=analysis, mode="thorough")
    analysis.refresh_from_db()
    assert analysis.mode == "standard"


def test_what_people_decided_stays_in_force(owner: User):
    reviewer = factories.make_user(is_staff=True, is_superuser=True)
    analysis = finished(owner)
    for judge in (reviewer, factories.make_user(is_staff=True, is_superuser=True)):
        if not Analysis.objects.get().reviewed_verdict:
            review.give_opinion(analysis=analysis, reviewer=judge, verdict="authentic")
    services.retry(analysis=analysis, mode="thorough")
    analysis.refresh_from_db()
    assert (analysis.mode, analysis.reviewed_verdict) == ("thorough", "authentic")


# -- Doing it ---------------------------------------------------------------------------------------------------------


def test_the_worker_is_told(owner: User):
    engine, upload = FakePipeline(), factories.make_upload(owner, kind="video", mime="video/mp4")
    for mode in ("thorough", "standard"):
        runner.run(factories.make_analysis(upload=upload, mode=mode).pk, engine=engine)
    assert engine.modes == ["thorough", "standard"]


@pytest.mark.parametrize(
    ("kind", "mode", "name"),
    [
        ("video", "standard", "ANALYSIS_TIME_LIMIT"),
        ("video", "thorough", "ANALYSIS_THOROUGH_TIME_LIMIT"),
        ("image", "standard", "ANALYSIS_IMAGE_TIME_LIMIT"),
    ],
)
def test_each_has_a_time_limit_of_its_own(
    owner: User, settings: LazySettings, limits: list[float], kind: str, mode: str, name: str
):
    analysis = factories.make_analysis(upload=factories.make_upload(owner, kind=kind), mode=mode)
    runner.run(analysis.pk, engine=FakePipeline())
    assert limits == [getattr(settings, name)]


def test_the_limit_is_that_of_what_is_done_and_not_of_what_was_asked_for_first(
    owner: User, settings: LazySettings, limits: list[float]
):
    """The message of a run that was cancelled is still in the queue, and comes first."""
    upload = factories.make_upload(owner, kind="video", mime="video/mp4")
    services.send(factories.make_analysis(upload=upload).pk)
    analysis = Analysis.objects.get(upload=upload)
    services.cancel(analysis=analysis)
    services.retry(analysis=Analysis.objects.get(pk=analysis.pk), mode="thorough")
    old, *_ = (dramatiq.Message.decode(data) for data in dramatiq.get_broker().queues["videos"].queue)
    assert "time_limit" not in old.options
    runner.run(uuid.UUID(old.args[0]), engine=FakePipeline())
    assert limits == [settings.ANALYSIS_THOROUGH_TIME_LIMIT]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those that the runner gives itself, seconds."""
    given: list[float] = []
    monkeypatch.setattr(runner, "set_limit", given.append)
    return given


def test_decoding_may_take_longer(settings: LazySettings):
    assert judges._bounds().thorough_seconds == settings.ANALYSIS_THOROUGH_TIME_LIMIT


def test_a_challenger_does_not_look_that_closely(owner: User, monkeypatch: pytest.MonkeyPatch):
    asked: list[Analysis] = []
    monkeypatch.setattr(serving, "challenger", lambda: "a model")
    monkeypatch.setattr(serving, "is_drawn", lambda model, upload: asked.append(upload) and False)
    assert judges.Trial.of(finished(owner, mode="thorough")) is None
    assert not asked
    assert judges.Trial.of(finished(owner)) is None
    assert asked


def test_the_curve_of_an_hour_keeps_its_peaks_and_its_end(owner: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "MAX_POINTS", 50)
    analysis = factories.make_analysis(owner)
    runner.run(analysis.pk, engine=FakePipeline(frames=200))
    points = Analysis.objects.get().points
    assert 20 <= len(points) <= 50
    assert points == sorted(points)
    assert points[-1] == [79.6, round(200 / 201, 4)]


def test_faces_without_pictures_are_stored_all_the_same(owner: User):
    class Sparing(FakePipeline):
        def run(self, *args, **kwargs):
            result = super().run(*args, **kwargs)
            for score in result.tracks[0].scores[:-1]:
                object.__setattr__(score, "crop", None)
                object.__setattr__(score, "evidence", None)
            return result

    analysis = factories.make_analysis(owner, mode="thorough")
    runner.run(analysis.pk, engine=Sparing(frames=4))
    assert [score.has_pictures for score in FaceScore.objects.order_by("number")] == [False, False, False, True]
    assert FaceTrack.objects.get().has_thumbnail
    result = reports.analysis_payload(Analysis.objects.select_related("upload").get())["result"]
    assert "heat maps" in words.means(result), "the model draws them"


def test_how_long_it_should_take_is_asked_of_its_own_kind(owner: User):
    now = timezone.now()
    for mode, seconds in (("standard", 2), ("thorough", 40)):
        done = finished(owner, mode=mode)
        Analysis.objects.filter(pk=done.pk).update(started_at=now - timedelta(seconds=seconds), finished_at=now)
    assert (selectors.expected_seconds("standard"), selectors.expected_seconds("thorough")) == (2, 40)
    upload = factories.make_upload(owner, kind="video")
    for mode in ("standard", "standard", "thorough"):
        factories.make_analysis(upload=upload, mode=mode)
    assert selectors.expected_seconds("thorough") == 2 * 2 + 40
    Analysis.objects.filter(status="succeeded", mode="thorough").delete()
    assert selectors.expected_seconds("thorough") is None


# -- Saying it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "frames", "seconds", "said"),
    [
        ("standard", 32, 600.0, "Standard: 32 frames"),
        ("thorough", 600, 600.0, "Thorough: 600 frames"),
        ("thorough", 64, 8.0, "Thorough: 64 frames"),
        ("thorough", 3600, 14_400.0, "Thorough: 3600 frames, one every 4.0 s"),
        ("thorough", 1, 0.04, "Thorough: 1 frame"),
        ("thorough", 0, None, "Thorough"),
    ],
)
def test_how_closely_it_was_looked_at(owner: User, mode: str, frames: int, seconds: float | None, said: str):
    analysis = finished(owner, mode=mode, total_frames=frames)
    analysis.upload.duration = seconds
    assert words.examined(analysis) == said


def test_of_a_picture_nothing_is_said(owner: User):
    assert words.examined(finished(owner, kind="image")) == ""


def test_history_page_and_reports_say_it(owner_client: Client, owner: User):
    analysis = finished(owner, mode="thorough")
    for path in ("/", "/analyses/", analysis.get_absolute_url()):
        assert "Thorough: 600 frames" in owner_client.get(path).content.decode(), path
    assert reports.report_json(analysis)["analysis"]["mode"] == "thorough"
    assert table.history_csv([analysis]).decode().splitlines()[1].endswith(",thorough")
    assert report_pdf(analysis).startswith(b"%PDF")


def test_a_crowd_is_folded_and_the_most_suspicious_stand_first(owner_client: Client, owner: User):
    analysis = finished(owner, mode="thorough")
    FaceTrack.objects.bulk_create(
        FaceTrack(analysis=analysis, number=number, score=number / 400, verdict="authentic") for number in range(2, 300)
    )
    page = owner_client.get(analysis.get_absolute_url()).content.decode()
    assert page.count('class="track"') == 240
    assert "Show 216 more" in page
    assert "300 people were told apart" in page
    assert page.index("Person 300<") < page.index("Person 299<")
    assert report_pdf(analysis).startswith(b"%PDF")
    few = [{"person": 1, "score": None}, {"person": 2, "score": 0.4}]
    assert (figures.crowd(few, 2), figures.crowd(few, 1)) == (few, few[::-1])
