"""The admin: to look at, hardly to change."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from accounts.models import User
from detection import quota, services
from detection.models import Analysis, AuditEntry, DeletionReceipt, Upload
from detection.webhooks import endpoints
from tests import factories

pytestmark = pytest.mark.django_db
ANALYSES = "/admin/detection/analysis/"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(factories.make_user("admin@example.org", is_staff=True, is_superuser=True))
    return client


def act(admin: Client, action: str, *analyses: Analysis, **more: str):
    data = {"action": action, "_selected_action": [str(a.pk) for a in analyses], **more}
    return admin.post(ANALYSES, data, follow=True)


def test_lists_and_searches(admin: Client, django_assert_max_num_queries):
    for _ in range(30):
        factories.make_result(frames=1)
    admin.get("/admin/")  # the first request of a session is noted
    with django_assert_max_num_queries(12):
        assert admin.get(ANALYSES, {"q": "face", "verdict": "manipulated"}).status_code == 200
    assert admin.get("/admin/detection/upload/", {"q": "face"}).status_code == 200
    assert admin.get("/admin/accounts/user/", {"q": "user"}).status_code == 200


def test_details_cannot_be_edited(admin: Client):
    analysis = factories.make_result()
    for path in (f"{ANALYSES}{analysis.pk}/change/", f"/admin/detection/upload/{analysis.upload_id}/change/"):
        page = admin.get(path)
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()
    assert admin.get(f"{ANALYSES}add/").status_code == 403
    assert admin.post(f"/admin/detection/upload/{analysis.upload_id}/delete/").status_code == 403


def test_cancelling_and_running_again(admin: Client, queued, settings, django_capture_on_commit_callbacks):
    waiting, done = factories.make_analysis(), factories.make_result()
    page = act(admin, "cancel", waiting, done).content.decode()
    assert "1 cancelled." in page
    assert "1 could not be" in page
    settings.DAILY_QUOTA = 1  # of the owner, whom it costs nothing
    quota.spend(done.upload.user)
    with django_capture_on_commit_callbacks(execute=True):
        act(admin, "run_again", waiting, done)
    assert AuditEntry.objects.get(action="rerun", object_id=str(done.pk)).before == {"model": "1"}
    assert sorted(queued()) == sorted([str(waiting.pk), str(done.pk)])


def test_deleting_removes_the_files(admin: Client, media_root: Path, django_capture_on_commit_callbacks):
    analyses = [factories.make_result(), factories.make_analysis(), factories.make_analysis()]
    with django_capture_on_commit_callbacks(execute=True):
        admin.post(f"{ANALYSES}{analyses[0].pk}/delete/", {"post": "yes"})
        act(admin, "delete_selected", *analyses[1:], post="yes")
    assert not Upload.objects.exists()
    receipts = DeletionReceipt.objects.values_list("reason", flat=True)
    assert set(receipts) == {"staff"}, "its owner did not ask for it"
    assert list(media_root.iterdir()) == []


def test_a_user_is_made_by_address(admin: Client):
    data = {
        "email": "New@Example.org",
        "usable_password": "true",
        "password1": "a quiet river 7",
        "password2": "a quiet river 7",
    }
    admin.post("/admin/accounts/user/add/", data)
    user = User.objects.get(email="new@example.org")
    assert user.check_password("a quiet river 7")
    assert admin.get(f"/admin/accounts/user/{user.pk}/change/").status_code == 200


def test_webhooks_are_looked_at_without_their_secrets(admin: Client):
    user = factories.make_user()
    webhook = endpoints.create(user=user, url="https://example.org/hook", events=["analysis.cancelled"])
    services.cancel(analysis=factories.make_analysis(user))
    delivery = webhook.deliveries.get()
    for path in ("webhookendpoint/", f"webhookendpoint/{webhook.pk}/change/", f"webhookdelivery/{delivery.pk}/change/"):
        page = admin.get(f"/admin/detection/{path}").content.decode()
        assert webhook.url in page
        assert webhook.secret not in page
    assert admin.get("/admin/detection/webhookdelivery/", {"q": "example"}).status_code == 200
