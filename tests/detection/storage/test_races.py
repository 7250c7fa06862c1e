"""Clean-up, analysis and deletion at the same moment on a bucket, which knows no rename: rows and bucket agree.

The same stories as in ``tests/detection/retention/test_races.py``, where they are told of a folder.
"""

from __future__ import annotations

import pytest

from accounts.models import User
from detection import cleanup, retention, runner, services, storage
from detection.models import Analysis, DeletionReceipt, Upload
from detection.privacy import erasure
from tests import factories
from tests.buckets import S3
from tests.detection.retention.test_races import at_once, due
from tests.fakes import FakePipeline

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = range(2)


def finish(user: User) -> Analysis:
    analysis = factories.make_analysis(user)
    runner.run(analysis.pk, engine=FakePipeline(frames=2))
    return Analysis.objects.select_related("upload").get(pk=analysis.pk)


def agree(s3: S3) -> None:
    """Nothing is in the bucket that no row names, and everything is that one names."""
    named = set()
    for upload in Upload.objects.filter(media_deleted_at=None):
        named.add(f"site/{upload.file.name}")
    for analysis in Analysis.objects.filter(status="succeeded", pictures_deleted_at=None):
        (folder,) = storage.store().kept(analysis)
        named |= {
            f"site/{folder}/{name}"
            for name in ("faces/0.jpg", "faces/1.jpg", "heatmaps/0.png", "heatmaps/1.png", "tracks/0.jpg")
        }
    assert set(s3.objects()) == named


@pytest.mark.parametrize("_round", ROUNDS)
def test_cleaning_up_and_analysing_anew(_round: int, s3: S3, owner: User):
    analysis = due(finish(owner))
    assert at_once(lambda: services.retry(analysis=analysis), cleanup.expire) == []
    runner.run(analysis.pk, engine=FakePipeline(frames=2))
    agree(s3)


@pytest.mark.parametrize("_round", ROUNDS)
def test_cleaning_up_while_a_worker_analyses(_round: int, s3: S3, owner: User):
    analysis = due(finish(owner))
    services.retry(analysis=analysis)
    due(analysis)
    engine = FakePipeline(frames=4)
    assert at_once(lambda: runner.run(analysis.pk, engine=engine), cleanup.expire, cleanup.tidy) == []
    analysis.refresh_from_db()
    assert analysis.status == "succeeded"
    retention.delete_pictures(analysis.pk, reason="user")
    agree(s3)


@pytest.mark.parametrize("_round", ROUNDS)
def test_everybody_deletes_at_once(_round: int, s3: S3, owner: User):
    analysis = due(finish(owner))
    raised = at_once(
        lambda: services.delete(analysis=analysis),
        lambda: retention.end_now(Analysis.objects.select_related("upload").get(pk=analysis.pk), by=owner),
        cleanup.expire,
        cleanup.tidy,
    )
    assert [error for error in raised if not isinstance(error, Analysis.DoesNotExist)] == []
    assert (Upload.objects.count(), s3.objects()) == (0, [])
    assert DeletionReceipt.objects.filter(what="file").count() == 1


@pytest.mark.parametrize("_round", ROUNDS)
def test_deleting_the_account_while_a_worker_analyses(_round: int, s3: S3, owner: User):
    factories.make_user(is_staff=True, is_superuser=True)
    due(finish(owner))
    running = factories.make_analysis(owner)
    raised = at_once(
        lambda: erasure.erase(user=owner),
        cleanup.expire,
        lambda: runner.run(running.pk, engine=FakePipeline(frames=2)),
    )
    assert raised == []
    assert (Upload.objects.count(), s3.objects()) == (0, [])
