"""Which model judges: what administrators choose, what a running worker makes of it, and what challengers say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client

from accounts.models import User
from detection import registered_models, runner, services, serving
from detection.engine.errors import ModelError
from detection.engine.registry import find_model
from detection.engine.types import FaceScore
from detection.models import Analysis, AuditEntry, ChallengerScore, RegisteredModel, Rerun
from detection.review import services as review
from detection.review import trials
from tests import factories, variants
from tests.conftest import PROJECT_ROOT
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db
MODELS = "/admin/detection/registeredmodel/"
PORTRAIT = PROJECT_ROOT / "static" / "samples" / "astronaut.jpg"
SHIPPED = find_model()


@pytest.fixture
def administrator(db: None) -> User:
    return factories.make_user("admin@example.org", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client


def variant(models_dir: Path, **changes) -> RegisteredModel:
    return registered_models.register(variants.install(models_dir, **changes))


def alarmist(models_dir: Path) -> RegisteredModel:
    return registered_models.register(variants.alarmist(models_dir))


def states() -> dict[str, str]:
    return {row.name: row.state for row in RegisteredModel.objects.all()}


# -- What can be chosen -----------------------------------------------------------------------------------------------


def test_where_nobody_chose_the_shipped_default_judges():
    assert serving.served() == serving.default() == SHIPPED


def test_what_lies_in_the_folders_gets_a_row(models_dir: Path):
    variants.install(models_dir)
    assert {str(row) for row in registered_models.sync()} == {f"{SHIPPED.name} {SHIPPED.version}", "variant 1"}
    assert [row.pk for row in registered_models.sync()] == [row.pk for row in registered_models.sync()]
    assert AuditEntry.objects.filter(action="register").count() == 2


@pytest.mark.parametrize(("state", "share"), [("active", None), ("challenger", 30)])
def test_another_file_under_the_same_name_is_another_model_which_nobody_chose(
    admin: Client, models_dir: Path, state: str, share: int | None
):
    row = variant(models_dir)
    RegisteredModel.objects.update(sha256="0" * 64, passed_gate=True, state=state, share=share)
    if state == "active":
        with pytest.raises(ModelError, match="not the file that was registered"):
            serving.served()
    admin.get(MODELS)
    again = RegisteredModel.objects.get(pk=row.pk)
    assert (again.sha256, again.passed_gate, again.state, again.share) == (SHIPPED.sha256, False, "available", None)
    assert serving.served() == SHIPPED
    assert AuditEntry.objects.filter(action="register").first().before == {"sha256": "0" * 64, "state": state}


def test_what_is_shipped_goes_before_what_is_installed_under_its_name(models_dir: Path):
    variants.install(models_dir, SHIPPED.name, SHIPPED.version)
    assert serving.models() == serving.readable_models() == [SHIPPED]


def test_the_database_has_room_for_one_active_model_and_one_challenger(models_dir: Path):
    first, second = variant(models_dir), alarmist(models_dir)
    for state in ("active", "challenger"):
        RegisteredModel.objects.filter(pk=first.pk).update(state=state, share=5)
        with pytest.raises(IntegrityError), transaction.atomic():
            RegisteredModel.objects.filter(pk=second.pk).update(state=state, share=5)
    with pytest.raises(IntegrityError), transaction.atomic():
        RegisteredModel.objects.filter(pk=first.pk).update(state="challenger", share=None)


def test_the_list_of_what_there_is(models_dir: Path, capsys: pytest.CaptureFixture[str], settings: LazySettings):
    registered_models.put_on_trial(variant(models_dir), share=20, by=None)
    call_command("models")
    shipped, other = capsys.readouterr().out.splitlines()
    assert shipped.startswith(f"* {SHIPPED.name} {SHIPPED.version}")
    assert "Challenger 20 %" in other
    settings.ANALYSIS_MODEL = "variant"
    call_command("models")
    assert "VERIFRAME_MODEL=variant goes before" in capsys.readouterr().out
    settings.ANALYSIS_MODEL = "nobody"
    with pytest.raises(CommandError, match="no model named 'nobody'"):
        call_command("models")


# -- In the admin -----------------------------------------------------------------------------------------------------


def test_an_administrator_activates_a_model_that_nobody_compared_and_says_why(
    admin: Client, administrator: User, models_dir: Path
):
    row = variant(models_dir)
    assert "Why it is used without a comparison" in admin.get(f"{MODELS}{row.pk}/activate/").content.decode()
    page = admin.post(f"{MODELS}{row.pk}/activate/").content.decode()
    assert "has not passed a comparison" in page
    assert serving.served() == SHIPPED
    page = admin.post(f"{MODELS}{row.pk}/activate/", {"reason": "The court wants this one."}, follow=True)
    assert "Active: variant 1." in page.content.decode()
    row.refresh_from_db()
    assert (row.state, row.forced_reason, serving.served().label) == (
        "active",
        "The court wants this one.",
        "variant-v1",
    )
    entry = AuditEntry.objects.get(action="activate")
    assert (entry.actor, entry.object_id, entry.after) == (
        administrator,
        str(row.pk),
        {"model": "variant 1", "forced": True},
    )


def test_back_to_the_shipped_model_without_a_word(admin: Client, models_dir: Path):
    registered_models.activate(variant(models_dir), by=None, reason="a test")
    admin.get(MODELS)  # makes the shipped model's row
    shipped = RegisteredModel.objects.get(name=SHIPPED.name)
    page = admin.post(f"{MODELS}{shipped.pk}/activate/", follow=True).content.decode()
    assert f"Available, judges now: {SHIPPED.name} {SHIPPED.version}." in page
    # No row is active: the next release may ship another version, and this one not any more.
    assert states() == {SHIPPED.name: "available", "variant": "available"}
    assert serving.served() == SHIPPED
    assert AuditEntry.objects.filter(action="activate").first().after["forced"] is False
    assert "active already" in admin.post(f"{MODELS}{shipped.pk}/activate/").content.decode()


def test_on_trial_and_retired(admin: Client, models_dir: Path):
    row, other = variant(models_dir), alarmist(models_dir)
    assert "Ensure this value" in admin.post(f"{MODELS}{row.pk}/challenge/", {"share": 0}).content.decode()
    admin.post(f"{MODELS}{row.pk}/challenge/", {"share": 25})
    row.refresh_from_db()
    assert (row.state, row.share) == ("challenger", 25)
    admin.post(f"{MODELS}{other.pk}/challenge/", {"share": 5})  # there is one at a time
    assert states() == {"variant": "available", "alarmist": "challenger"}
    admin.post(f"{MODELS}{other.pk}/retire/")
    assert states() == {"variant": "available", "alarmist": "retired"}
    assert [entry.action for entry in AuditEntry.objects.exclude(action="register")] == [
        "retire",
        "challenge",
        "challenge",
    ]


def test_what_judges_can_neither_be_retired_nor_challenge_itself(admin: Client, models_dir: Path):
    admin.get(MODELS)
    shipped = RegisteredModel.objects.get(name=SHIPPED.name)
    for act, data, why in (("retire", {}, "cannot be retired"), ("challenge", {"share": 5}, "cannot challenge itself")):
        assert why in admin.post(f"{MODELS}{shipped.pk}/{act}/", data).content.decode()
    assert "active already" in admin.post(f"{MODELS}{shipped.pk}/activate/").content.decode()


def test_a_model_whose_file_was_changed_is_not_activated(admin: Client, models_dir: Path):
    row = variant(models_dir)
    serving.spec_of(row).path.write_bytes(b"something else")
    page = admin.post(f"{MODELS}{row.pk}/activate/", {"reason": "why not"}).content.decode()
    assert "This model cannot be used" in page
    assert states()["variant"] == "available"


def test_the_list_says_what_judges_and_what_the_settings_pin(admin: Client, models_dir: Path, settings: LazySettings):
    row = variant(models_dir, provenance={"source": "meso4.h5"})
    assert f"the default model judges: {SHIPPED.label}" in admin.get(MODELS).content.decode()
    assert "meso4.h5" in admin.get(f"{MODELS}{row.pk}/change/").content.decode()
    settings.ANALYSIS_MODEL = "variant"
    assert "VERIFRAME_MODEL has variant-v1 judge" in admin.get(MODELS).content.decode()
    serving.spec_of(row).path.parent.rename(models_dir / ".gone")
    page = admin.get(MODELS).content.decode()
    assert "No model can judge at the moment" in page
    assert "its files are missing or changed" in page


def test_a_folder_that_somebody_broke_takes_nothing_else_down(admin: Client, owner: User, models_dir: Path):
    folder = variants.install(models_dir).path.parent
    (folder / "model.toml").write_text("name =")
    assert serving.served() == SHIPPED
    second = alarmist(models_dir)
    registered_models.activate(second, by=None, reason="a test")
    assert serving.served().label == "alarmist-v1"
    assert "Not every model can be read" in admin.get(MODELS).content.decode()
    admin.force_login(owner)
    assert admin.get(factories.make_result(owner).get_absolute_url()).status_code == 200
    assert [model["name"] for model in admin.get("/api/v1/models/").json()] == [SHIPPED.name, "alarmist"]


def test_a_model_without_its_file_and_one_that_not_every_worker_can_run(admin: Client, models_dir: Path):
    row = variant(models_dir, file="model.keras")  # which is not there
    assert "Available, but its files are missing or changed" in admin.get(MODELS).content.decode()
    said = "every worker needs TensorFlow"
    assert said in admin.get(f"{MODELS}{row.pk}/activate/").content.decode()
    assert said not in admin.get(f"{MODELS}{alarmist(models_dir).pk}/activate/").content.decode()


def test_staff_without_the_permission_change_nothing(client: Client, models_dir: Path):
    row = variant(models_dir)
    client.force_login(factories.make_user(is_staff=True))
    assert client.get(MODELS).status_code == 403
    assert client.post(f"{MODELS}{row.pk}/activate/", {"reason": "mine"}).status_code == 403
    assert states() == {"variant": "available"}


# -- What was seen of a trial -----------------------------------------------------------------------------------------


def score(analysis: Analysis, challenger: RegisteredModel, verdict: str, **values) -> None:
    said = {"model_name": analysis.model_name, "model_version": analysis.model_version}
    ChallengerScore.objects.create(
        analysis=analysis,
        challenger=challenger,
        model_verdict=analysis.verdict,
        verdict=verdict,
        at=analysis.created_at,
        model_seconds=2.0,
        seconds=0.5,
        **said,
        **values,
    )


def test_the_figures_compare_the_two(admin: Client, administrator: User, owner: User, models_dir: Path):
    challenger = variant(models_dir)
    same, raised, lowered = (factories.make_result(owner) for _ in range(3))
    Analysis.objects.filter(pk=raised.pk).update(verdict="authentic")
    raised.refresh_from_db()
    score(same, challenger, "manipulated")
    score(raised, challenger, "manipulated")
    score(lowered, challenger, "authentic")
    review.give_opinion(analysis=lowered, reviewer=administrator, verdict="authentic")
    (trial,) = trials.trials()
    assert (trial.challenger, trial.model, trial.files, trial.same) == ("variant 1", "test 1", 3, 1)
    assert {(c.before, c.after, c.number, c.is_stricter) for c in trial.changes} == {
        ("authentic", "manipulated", 1, True),
        ("manipulated", "authentic", 1, False),
    }
    assert (trial.model_and_people.hits, trial.challenger_and_people.hits) == (0, 1)
    assert (trial.model_seconds, trial.seconds) == (2.0, 0.5)
    statistics = "/admin/detection/queuedanalysis/statistics/"
    assert "Ended trial: variant 1 beside test 1" in admin.get(statistics).content.decode()
    registered_models.put_on_trial(challenger, share=5, by=None)
    page = admin.get(statistics).content.decode()
    assert "On trial: variant 1 beside test 1" in page
    for analysis in (raised, lowered):
        assert f"/admin/detection/queuedanalysis/{analysis.pk}/change/" in page
    assert "the challenger 0.50 more" in page


def test_a_challenger_that_always_failed_has_figures_too(admin: Client, owner: User, models_dir: Path):
    score(factories.make_result(owner), variant(models_dir), "", error="ModelError")
    (trial,) = trials.trials()
    assert (trial.files, trial.failed, trial.agreement.value) == (0, 1, None)
    page = admin.get("/admin/detection/queuedanalysis/statistics/").content.decode()
    assert "1 that the challenger failed at" in page


# -- Old analyses, run again ------------------------------------------------------------------------------------------


def test_what_a_new_run_changed(admin: Client, owner: User, django_capture_on_commit_callbacks):
    changed, gone = factories.make_result(owner), factories.make_result(owner)
    gone.upload.media_deleted_at = gone.created_at
    gone.upload.save()
    Analysis.objects.filter(pk=changed.pk).update(verdict="authentic", score=0.2)
    data = {"action": "run_again", "_selected_action": [str(changed.pk), str(gone.pk)]}
    with django_capture_on_commit_callbacks(execute=True):
        admin.post("/admin/detection/analysis/", data)
    rerun = Rerun.objects.get()  # of the other one there is no file any more
    assert (rerun.analysis, rerun.verdict, rerun.score, rerun.model_name) == (changed, "authentic", 0.2, "test")
    assert "Queued" in admin.get("/admin/detection/rerun/", {"outcome": "none"}).content.decode()
    runner.run(changed.pk, engine=FakePipeline())
    page = admin.get("/admin/detection/rerun/", {"outcome": "changed"}).content.decode()
    for said in ("No signs (0.20) · test 1", "Strong signs (0.90) · fake 7"):
        assert said in page
    assert "fake 7" not in admin.get("/admin/detection/rerun/", {"outcome": "same"}).content.decode()
    # The next new run has its own line, and changes nothing of this one.
    with django_capture_on_commit_callbacks(execute=True):
        admin.post("/admin/detection/analysis/", {**data, "_selected_action": [str(changed.pk)]})
    assert "No signs (0.20) · test 1" in admin.get("/admin/detection/rerun/", {"outcome": "changed"}).content.decode()
    runner.run(changed.pk, engine=FakePipeline())
    assert list(Rerun.objects.values_list("verdict", "new_verdict")) == [
        ("manipulated", "manipulated"),
        ("authentic", "manipulated"),
    ]
    services.delete(analysis=changed)
    assert not Rerun.objects.exists()


# -- What others are told ---------------------------------------------------------------------------------------------


def test_page_and_api_tell_of_the_model_that_judges(owner_client: Client, models_dir: Path):
    row = variant(models_dir, metrics={}, data=["my own videos"])
    registered_models.activate(row, by=None, reason="a test")
    row.refresh_from_db()
    measured = {"champion": variants.figures("old-v1"), "candidate": variants.figures("variant-v1", mean_auc=0.71)}
    row.gate = {**measured, "at": "2026-11-21T12:00:00+00:00"}
    row.save()
    page = owner_client.get("/model/").content.decode()
    for said in ("variant 1", "my own videos", "Not measured here", "0.710", "3 of 100"):
        assert said in page
    assert "Compared with old-v1 on Nov. 21, 2026" in page
    assert "This model was worse and is used all the same." in page
    assert "Every figure on this page" not in page
    told = {model["name"]: model for model in owner_client.get("/api/v1/models/").json()}
    assert (told["variant"]["served"], told["variant"]["measured"]) == (True, False)
    assert (told[SHIPPED.name]["served"], told[SHIPPED.name]["measured"]) == (False, True)


def test_where_no_model_can_judge_page_and_api_say_so(owner_client: Client, settings: LazySettings):
    settings.ANALYSIS_MODEL = "nobody"
    page = owner_client.get("/model/")
    assert (page.status_code, b"No model can judge at the moment" in page.content) == (503, True)
    assert [model["served"] for model in owner_client.get("/api/v1/models/").json()] == [False]


class WithoutMaps(FakePipeline):
    """Of a network that does not say where in a face it looks."""

    def _score(self, on_event: Any) -> Iterator[FaceScore]:
        for one in super()._score(on_event):
            yield replace(one, evidence=None)


def test_a_model_without_heat_maps_shows_none(owner: User, owner_client: Client, stored: Callable[[], list[str]]):
    analysis = factories.make_analysis(owner)
    runner.run(analysis.pk, engine=WithoutMaps(frames=4))
    assert not [path for path in stored() if "heatmaps" in path]
    told = owner_client.get(f"/api/v1/analyses/{analysis.pk}/").json()
    faces = [face for frame in told["result"]["frames"] for face in frame["faces"]]
    assert {(bool(face["crop_url"]), face["heatmap_url"]) for face in faces} == {(True, None)}
    page = " ".join(owner_client.get(analysis.get_absolute_url()).content.decode().split())
    assert "Worst first. This model gives no heat map." in page
    assert "Look at the flagged frames. Treat the recording as doubtful" in page
    assert owner_client.get(f"/api/v1/analyses/{analysis.pk}/report.pdf").status_code == 200
