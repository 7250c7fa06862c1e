"""What a running worker makes of what people chose: it loads the model that judges, and a challenger beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.files.base import ContentFile
from django.test import Client
from dramatiq import Retry
from dramatiq.middleware import Shutdown, TimeLimitExceeded

from accounts.models import User
from detection import judges, registered_models, runner, services, serving, validators
from detection.engine.registry import find_model
from detection.models import Analysis, AuditEntry, ChallengerScore, RegisteredModel
from detection.review import services as review
from detection.review import trials
from tests import factories, variants
from tests.conftest import PROJECT_ROOT

pytestmark = pytest.mark.django_db
PORTRAIT = PROJECT_ROOT / "static" / "samples" / "astronaut.jpg"
SHIPPED = find_model()


def variant(models_dir: Path, **changes) -> RegisteredModel:
    return registered_models.register(variants.install(models_dir, **changes))


def alarmist(models_dir: Path) -> RegisteredModel:
    return registered_models.register(variants.alarmist(models_dir))


def portrait(user: User) -> Analysis:
    upload = factories.make_upload(user)
    upload.file.save("source.jpg", ContentFile(PORTRAIT.read_bytes()), save=True)
    return factories.make_analysis(upload=upload)


def analysed(analysis: Analysis) -> Analysis:
    """By the real engine."""
    runner.run(analysis.pk)
    analysis.refresh_from_db()
    assert analysis.status == "succeeded", analysis.error_message
    return analysis


# -- Running workers --------------------------------------------------------------------------------------------------


def test_the_next_analysis_is_judged_by_the_model_that_was_activated_meanwhile(owner: User, models_dir: Path):
    before = analysed(portrait(owner))
    assert (before.model_name, before.verdict) == (SHIPPED.name, "authentic")
    loaded = judges.pipeline()
    assert judges.pipeline() is loaded
    registered_models.activate(alarmist(models_dir), by=None, reason="a test")
    after = analysed(portrait(owner))
    assert (after.model_name, after.model_version, after.verdict) == ("alarmist", "1", "manipulated")
    assert (after.model_sha256, after.threshold) == (SHIPPED.sha256, 0.0002)


def test_a_worker_has_the_model_before_the_first_analysis(caplog):
    judges._loaded.pipeline = None
    judges.prepare()
    _spec, loaded = judges._loaded.pipeline
    assert judges.pipeline() is loaded
    assert not caplog.records or all(record.levelname == "INFO" for record in caplog.records)


def test_a_worker_starts_without_a_model_and_the_log_says_so(settings: LazySettings, caplog):
    """Its analyses will fail with a code; one that has a model then succeeds, without a restart."""
    judges._loaded.pipeline = None
    settings.ANALYSIS_MODEL = "nobody"
    judges.prepare()
    assert judges._loaded.pipeline is None
    assert "could not be loaded in advance" in caplog.text


def test_a_result_of_the_same_file_with_other_thresholds_is_no_earlier_result(owner: User, models_dir: Path):
    analysis = analysed(portrait(owner))
    analysis.upload.sha256 = services.sha256_of(validators.accept(factories.uploaded()))
    analysis.upload.save()

    def found() -> Analysis | None:
        return services.earlier_result(user=owner, upload=validators.accept(factories.uploaded()))

    assert found() == analysis
    registered_models.activate(alarmist(models_dir), by=None, reason="a test")
    assert found() is None


def test_what_people_said_of_the_model_before_is_not_said_of_the_one_that_was_activated_meanwhile(
    owner: User, models_dir: Path
):
    reviewer = factories.make_user(is_staff=True, is_superuser=True)
    analysis = analysed(portrait(owner))
    review.give_opinion(analysis=analysis, reviewer=reviewer, verdict="authentic")
    services.retry(analysis=analysis)  # of the same model, so what people said stays
    analysis = analysed(analysis)
    assert analysis.reviewed_verdict == "authentic"
    services.retry(analysis=analysis)
    registered_models.activate(alarmist(models_dir), by=None, reason="a test")
    analysis = analysed(analysis)
    assert (analysis.model_name, analysis.reviewed_verdict, analysis.final_verdict) == ("alarmist", "", "manipulated")
    assert AuditEntry.objects.filter(action="supersede").count() == 1


def test_an_active_model_that_is_gone_fails_the_analysis_and_says_so(owner: User, models_dir: Path):
    row = variant(models_dir)
    registered_models.activate(row, by=None, reason="a test")
    serving.spec_of(row).path.unlink()
    analysis = portrait(owner)
    runner.run(analysis.pk)
    analysis.refresh_from_db()
    assert (analysis.status, analysis.error_code) == ("failed", "model_unavailable")


# -- Challengers ------------------------------------------------------------------------------------------------------


def test_a_challenger_judges_silently_beside_the_model(owner: User, owner_client: Client, models_dir: Path):
    # Of another shape, too: it sees more of the head.
    challenger = registered_models.register(variants.alarmist(models_dir, crop_margin=3.4))
    registered_models.put_on_trial(challenger, share=100, by=None)
    analysis = analysed(portrait(owner))
    assert (analysis.model_name, analysis.verdict) == (SHIPPED.name, "authentic")
    score = ChallengerScore.objects.get()
    assert (score.analysis, score.challenger, score.error) == (analysis, challenger, "")
    assert (score.model_verdict, score.verdict) == ("authentic", "manipulated")
    assert score.score != analysis.score  # it saw another crop
    assert score.seconds > 0
    assert score.model_seconds == analysis.timings["total"]
    for address in (analysis.get_absolute_url(), f"/api/v1/analyses/{analysis.pk}/"):
        assert "alarmist" not in owner_client.get(address).content.decode()
    services.delete(analysis=analysis)
    assert not ChallengerScore.objects.exists()


def test_a_challenger_that_fails_fails_nothing_but_itself(owner: User, models_dir: Path):
    challenger = variant(models_dir)
    registered_models.put_on_trial(challenger, share=100, by=None)
    path = serving.spec_of(challenger).path
    sound = path.read_bytes()
    path.write_bytes(b"no model")
    assert analysed(portrait(owner)).verdict == "authentic"
    score = ChallengerScore.objects.get()
    assert (score.verdict, score.error) == ("", "ModelError")
    assert trials.trials()[0].failed == 1
    # It is not loaded anew with each analysis, but once people put it on trial again.
    path.write_bytes(sound)
    analysed(portrait(owner))
    assert trials.trials()[0].failed == 2
    registered_models.put_on_trial(challenger, share=100, by=None)
    analysed(portrait(owner))
    assert (trials.trials()[0].failed, trials.trials()[0].files) == (2, 1)


def in_its_place(monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Have something happen at the moment in which the challenger is asked for."""
    load = judges._challenging

    def happens(*args):
        what()
        return load(*args)

    monkeypatch.setattr(judges, "_challenging", happens)


@pytest.mark.parametrize(("interrupt", "rows"), [(TimeLimitExceeded, 1), (Shutdown, 0)])
def test_the_answer_is_stored_before_the_challenger_begins(
    owner: User, models_dir: Path, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException], rows: int
):
    registered_models.put_on_trial(variant(models_dir), share=100, by=None)
    analysis, told = portrait(owner), []

    def interrupted() -> None:
        told.append(Analysis.objects.get(pk=analysis.pk).status)
        raise interrupt

    in_its_place(monkeypatch, interrupted)
    if interrupt is Shutdown:
        with pytest.raises(Retry):  # whose message finds nothing to do
            runner.run(analysis.pk)
    else:
        runner.run(analysis.pk)  # the slowest ones must not be missing from the figures
    assert told == ["succeeded"]
    analysis.refresh_from_db()
    assert (analysis.status, analysis.verdict) == ("succeeded", "authentic")
    assert list(ChallengerScore.objects.values_list("error", flat=True)) == ["TimeLimitExceeded"] * rows


@pytest.mark.django_db(transaction=True)
def test_an_analysis_that_is_deleted_meanwhile_leaves_no_score(
    owner: User, models_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    registered_models.put_on_trial(variant(models_dir), share=100, by=None)
    analysis = portrait(owner)
    in_its_place(monkeypatch, lambda: services.delete(analysis=analysis))
    runner.run(analysis.pk)
    assert not ChallengerScore.objects.exists()
    assert not Analysis.objects.exists()
    assert "the challenger's score is lost: IntegrityError" in caplog.text


def test_a_trial_that_is_over_takes_no_memory(owner: User, models_dir: Path):
    challenger = variant(models_dir)
    registered_models.put_on_trial(challenger, share=100, by=None)
    analysed(portrait(owner))
    assert judges._loaded.challenger
    registered_models.retire(challenger, by=None)
    analysed(portrait(owner))
    assert judges._loaded.challenger is None


def test_its_share_is_decided_by_the_content(owner: User, models_dir: Path):
    challenger = variant(models_dir)
    upload = factories.make_upload(owner)
    assert serving.challenger() is None
    registered_models.put_on_trial(challenger, share=30, by=None)
    drawn = []
    for number in range(400):
        upload.sha256 = f"{number:064x}"
        drawn.append(serving.is_drawn(serving.challenger(), upload))
        assert drawn[-1] == serving.is_drawn(serving.challenger(), upload)
    assert 80 < sum(drawn) < 160
