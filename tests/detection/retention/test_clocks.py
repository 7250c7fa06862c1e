"""Everything goes at its time: the file, its pictures, the result, and at last the receipts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from detection import cleanup, retention, runner, services
from detection.models import Analysis, DeletionReason, DeletionReceipt, Upload
from detection.problems import Refused
from detection.review import services as review
from tests import factories
from tests.detection.retention.conftest import BEGIN
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db(transaction=True)


def reload(analysis: Analysis) -> Analysis:
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


def receipts() -> list[tuple[str, str]]:
    return list(DeletionReceipt.objects.order_by("deleted_at", "what").values_list("what", "reason"))


def test_the_whole_life_of_a_file(finished, clock, on_disk, owner, settings):
    """An hour, a month, a year, and another one."""
    name = f"{finished.upload_id}/source.jpg"
    assert finished.upload.media_expires_at == BEGIN + timedelta(hours=1)
    pictures = [path for path in on_disk() if path != name]
    assert pictures

    clock.forward(minutes=59, seconds=59)
    cleanup.expire()
    assert name in on_disk()

    clock.forward(seconds=1)
    assert cleanup.expire().files == 1
    assert on_disk() == pictures
    gone = reload(finished)
    assert (gone.upload.media_deleted_at, gone.upload.media_deleted_reason) == (timezone.now(), "expired")
    assert (gone.status, gone.tracks.count() > 0) == ("succeeded", True)
    assert receipts() == [("file", "expired")]
    receipt = DeletionReceipt.objects.get()
    assert (receipt.sha256, receipt.size, receipt.user) == (gone.upload.sha256, gone.upload.size, owner)
    assert cleanup.expire().files == 0

    clock.forward(days=29, hours=22, minutes=59)
    assert cleanup.expire().pictures == 0
    clock.forward(minutes=1)
    assert cleanup.expire().pictures == 1
    assert on_disk() == []
    bare = reload(finished)
    assert bare.pictures_deleted_at is not None
    assert not bare.tracks.filter(has_thumbnail=True).exists()
    assert not bare.tracks.filter(scores__has_pictures=True).exists()

    clock.forward(days=settings.RESULTS_DAYS - 30)
    assert cleanup.expire().results == 1
    assert (Analysis.objects.count(), Upload.objects.count()) == (0, 0)
    assert receipts() == [("file", "expired"), ("pictures", "expired"), ("result", "expired")]
    assert not list(settings.MEDIA_ROOT.glob(str(finished.upload_id)))

    clock.forward(days=settings.RECEIPT_DAYS + 1)
    assert cleanup.expire().receipts == 3
    assert receipts() == []


def test_a_deletion_that_is_not_committed_deletes_nothing(finished, clock, on_disk):
    """Neither the file nor the pictures, and the next clean-up does it with its receipts."""
    before = on_disk()
    with transaction.atomic():
        assert retention.delete_pictures(finished.pk, reason=DeletionReason.MISSING) is False
        assert retention.delete_pictures(finished.pk, reason=DeletionReason.USER)
        assert retention.delete_file(finished.upload_id, reason=DeletionReason.USER)
        assert on_disk() == before
        transaction.set_rollback(True)
    assert on_disk() == before
    clock.forward(days=30)
    assert cleanup.expire() == cleanup.clocks.Expired(files=1, pictures=1, results=0, receipts=0)
    assert on_disk() == []
    assert DeletionReceipt.objects.get(what="pictures").size > 0


def test_a_dry_run_counts_and_changes_nothing(finished, clock, on_disk):
    before = on_disk()
    clock.forward(days=40)
    assert cleanup.expire(dry_run=True) == cleanup.clocks.Expired(files=1, pictures=1, results=0, receipts=0)
    assert (on_disk(), receipts()) == (before, [])


def test_results_may_be_kept_for_as_long_as_their_user_wants(owner, clock, finish, settings):
    settings.RESULTS_DAYS = 0
    analysis = finish(owner)
    clock.forward(days=4000)
    cleanup.expire()
    assert reload(analysis).expires_at is None


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_what_failed_or_was_cancelled_goes_as_well(ending, owner, clock, on_disk):
    analysis = factories.make_analysis(owner)
    if ending == "cancelled":
        services.cancel(analysis=analysis)
    else:
        analysis.upload.file.storage.delete(analysis.upload.file.name)
        analysis.upload.file.storage.save(analysis.upload.file.name, factories.uploaded(content=b"no picture"))
        runner.run(analysis.pk, engine=broken)
    assert reload(analysis).status == ending
    clock.forward(hours=1)
    assert cleanup.expire().files == 1
    assert on_disk() == []


def broken() -> None:
    raise MemoryError


def test_what_still_waits_is_kept_however_long_it_takes(owner, clock, on_disk):
    factories.make_analysis(owner)
    clock.forward(days=400)
    assert cleanup.expire().files == 0
    assert len(on_disk()) == 1


def test_a_new_run_starts_the_clocks_anew(finished, clock, on_disk):
    clock.forward(minutes=50)
    services.retry(analysis=finished)
    clock.forward(minutes=50)
    assert cleanup.expire().files == 0, "it waits to be analysed"
    runner.run(finished.pk, engine=FakePipeline(frames=2))
    assert reload(finished).upload.media_expires_at == timezone.now() + timedelta(hours=1)
    clock.forward(hours=1)
    assert cleanup.expire().files == 1


def test_without_its_file_nothing_is_analysed_anew(finished, clock, queued):
    clock.forward(hours=1)
    cleanup.expire()
    with pytest.raises(Refused, match=r"The file was deleted on March 1, 2026, 1 p\.m\. UTC") as refused:
        services.retry(analysis=reload(finished))
    assert refused.value.code == "media_deleted"
    kept = reload(finished)
    assert (kept.status, kept.verdict, kept.tracks.count() > 0) == ("succeeded", finished.verdict, True)
    assert queued() == []
    assert services.retry_all(analyses=[kept]) == (0, 1)


def test_what_ended_before_there_were_clocks_gets_its_time_from_now_on(owner, clock, on_disk):
    factories.make_analysis(owner, status="succeeded")
    cleanup.expire()
    assert len(on_disk()) == 1
    clock.forward(hours=1)
    assert cleanup.expire().files == 1


# -- Whose wish counts ------------------------------------------------------------------------------------------------


def test_a_user_has_files_kept_shorter_or_longer(owner, clock, finish, settings):
    retention.choose_usual(owner, 600)
    analysis = services.submit(user=owner, upload=accepted())
    assert analysis.upload.keep_seconds == 600
    longer = services.submit(user=owner, upload=accepted(), keep_seconds=86400)
    for each in (analysis, longer):
        runner.run(each.pk, engine=FakePipeline(frames=1))
    clock.forward(minutes=10)
    assert cleanup.expire().files == 1
    assert reload(analysis).upload.media_deleted_at
    retention.keep_for(longer.upload, 3600)
    assert longer.upload.media_expires_at == BEGIN + timedelta(hours=1), "counted from the result"
    settings.MEDIA_MAX_SECONDS = 60
    assert retention.usual(owner) == 60, "the site's owner has lowered the limit"


def test_nobody_has_a_file_kept_for_longer_than_the_site_allows(owner, finished, settings):
    for ask in (retention.choose_usual, lambda _user, seconds: retention.keep_for(finished.upload, seconds)):
        with pytest.raises(Refused, match="0 to 86400 seconds") as refused:
            ask(owner, settings.MEDIA_MAX_SECONDS + 1)
        assert refused.value.code == "invalid_request"


def test_the_owner_deletes_the_file_at_once(finished, owner, on_disk):
    retention.end_now(finished, by=owner)
    assert f"{finished.upload_id}/source.jpg" not in on_disk()
    assert receipts() == [("file", "user")]
    with pytest.raises(Refused, match="deleted on"):
        retention.end_now(finished, by=owner)
    with pytest.raises(Refused, match="deleted on"):
        retention.keep_for(finished.upload, 60)


def test_a_file_that_is_being_analysed_is_not_deleted(owner, on_disk):
    with pytest.raises(Refused, match="Cancel the analysis first") as refused:
        retention.end_now(factories.make_analysis(owner), by=owner)
    assert refused.value.code == "conflict"
    assert len(on_disk()) == 1


def test_a_reviewer_extends_and_ends(finished, clock, on_disk):
    """By a week each time, as far as the site allows."""
    reviewer = factories.make_user()
    assert retention.extend(finished, by=reviewer) == BEGIN + timedelta(days=7, hours=1)
    assert retention.extend(finished, by=reviewer) == BEGIN + timedelta(days=14)
    with pytest.raises(Refused, match="14 days from now"):
        retention.extend(finished, by=reviewer)
    clock.forward(days=13)
    assert cleanup.expire().files == 0
    assert retention.extend(finished, by=reviewer) == BEGIN + timedelta(days=21)
    retention.end_now(finished, by=reviewer)
    assert receipts() == [("file", "reviewer")]
    with pytest.raises(Refused, match="deleted on"):
        retention.extend(finished, by=reviewer)


def test_extending_never_shortens(finished, settings):
    settings.MEDIA_MAX_SECONDS = 30 * 86400
    retention.keep_for(finished.upload, 30 * 86400)
    with pytest.raises(Refused, match="14 days from now"):
        retention.extend(finished, by=factories.make_user())
    assert reload(finished).upload.media_expires_at == BEGIN + timedelta(days=30)


def test_extending_where_less_than_a_week_is_allowed(finished, clock, settings):
    settings.HOLD_DAYS = 3
    assert retention.extension() == timedelta(days=3)
    assert retention.extend(finished, by=factories.make_user()) == BEGIN + timedelta(days=3)
    with pytest.raises(Refused, match="3 days from now"):
        retention.extend(finished, by=factories.make_user())


def test_an_objection_holds_everything_until_it_is_decided(finished, clock, on_disk):
    everything = on_disk()
    assert retention.hold(finished) == BEGIN + timedelta(days=14)
    clock.forward(days=13)
    retention.hold(finished)  # once more: not for longer
    cleanup.expire()
    assert on_disk() == everything
    retention.release(finished)
    assert cleanup.expire().files == 1


def test_an_objection_that_nobody_decides_holds_for_a_limited_time(finished, clock, settings):
    settings.PICTURES_DAYS = 1
    Analysis.objects.update(pictures_expire_at=timezone.now(), expires_at=timezone.now())
    retention.hold(finished)
    clock.forward(days=13, hours=23)
    assert cleanup.expire() == cleanup.clocks.Expired(files=0, pictures=0, results=0, receipts=0)
    clock.forward(hours=1)
    assert cleanup.expire().results == 1


def test_objecting_again_and_again_holds_for_no_longer(finished, clock):
    """Nor does objecting to what a new run found in the same file."""
    end = BEGIN + timedelta(days=14)
    review.dispute(analysis=finished, category="genuine")
    assert reload(finished).upload.media_held_until == end
    for _day in range(13):
        clock.forward(days=1)
        review.withdraw(analysis=finished)
        review.dispute(analysis=finished, category="genuine")
    assert reload(finished).upload.media_held_until == end
    review.withdraw(analysis=finished)
    services.retry(analysis=finished)
    runner.run(finished.pk, engine=FakePipeline(frames=2))
    review.dispute(analysis=finished, category="genuine")
    assert reload(finished).upload.media_held_until == end
    clock.forward(days=1)
    review.withdraw(analysis=finished)
    review.dispute(analysis=finished, category="genuine")
    assert reload(finished).upload.media_held_until is None
    assert cleanup.expire().files == 1
    assert retention.hold(finished) is None


def test_an_objection_comes_too_late_for_the_file(finished, owner):
    retention.end_now(finished, by=owner)
    assert retention.hold(finished) is None


def test_deleting_an_analysis_leaves_receipts(finished, owner, on_disk):
    services.delete(analysis=finished)
    assert on_disk() == []
    assert sorted(receipts()) == [("file", "user"), ("result", "user")]


def test_receipts_of_a_deleted_account_name_nobody(finished, owner):
    services.delete(analysis=finished)
    owner.delete()
    assert {receipt.user for receipt in DeletionReceipt.objects.all()} == {None}


def test_one_deletion_that_fails_does_not_keep_the_others(owner, clock, finish, monkeypatch, caplog):
    first, second = finish(owner), finish(owner)
    delete_file = retention.delete_file

    def stumble(upload_id, **options):
        if upload_id == first.upload_id:
            raise OSError("disk")
        return delete_file(upload_id, **options)

    monkeypatch.setattr(retention, "delete_file", stumble)
    clock.forward(hours=2)
    assert cleanup.expire().files == 1
    assert reload(second).upload.media_deleted_at
    assert "the next one will try again" in caplog.text
    monkeypatch.undo()
    assert cleanup.expire().files == 1


def accepted():
    from detection import validators

    return validators.accept(factories.uploaded())
