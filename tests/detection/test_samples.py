"""Something to try without a file of one's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import pytest
from django.test import Client

from accounts.models import User
from detection import services
from detection.models import Analysis, Upload

pytestmark = pytest.mark.django_db


def test_a_sample_picture_is_analysed_like_any_other(owner_client: Client, owner: User, queued):
    services_sent = owner_client.post("/samples/astronaut-changed.jpg")
    analysis = Analysis.objects.get()
    assert services_sent["Location"] == analysis.get_absolute_url()
    assert (analysis.upload.user, analysis.upload.kind, analysis.upload.width) == (owner, "image", 512)


def test_the_two_pictures_differ_in_the_face_only():
    from PIL import Image, ImageChops

    genuine, changed = (
        Image.open(services.SAMPLE_PICTURES / name).convert("L") for name in ("astronaut.jpg", "astronaut-changed.jpg")
    )
    box = ImageChops.difference(genuine, changed).point(lambda level: 255 if level > 16 else 0).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert (left > 120, top > 20, right < 330, bottom < 250) == (True,) * 4, box


def test_a_sample_video_is_rendered_when_first_asked_for(owner_client: Client, media_root: Path):
    owner_client.post("/samples/astronaut-changed-pan.mp4")
    owner_client.post("/samples/astronaut-pan.mp4")
    assert sorted(Upload.objects.values_list("name", flat=True)) == ["astronaut-changed-pan.mp4", "astronaut-pan.mp4"]
    rendered = sorted(path.name for path in (media_root / "samples").iterdir())
    assert rendered == ["astronaut-changed-pan.mp4", "astronaut-pan.mp4"]
    with av.open(Upload.objects.first().file.path) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(8)
        assert (stream.width, stream.height) == (480, 480)
        assert len(list(container.decode(video=0))) == 200


def test_a_sample_that_cannot_be_rendered_says_so(owner_client: Client, monkeypatch: pytest.MonkeyPatch):
    def fail(*args: object, **kwargs: object):
        raise subprocess.CalledProcessError(1, "manage.py", stderr=b"no encoder")

    monkeypatch.setattr(subprocess, "run", fail)
    response = owner_client.post("/samples/astronaut-pan.mp4", follow=True)
    assert "cannot be made on this server" in response.content.decode()
    assert not Upload.objects.exists()


def test_samples_are_offered_with_what_they_are_worth(owner_client: Client):
    page = " ".join(owner_client.get("/").content.decode().split())
    for name in services.SAMPLES:
        assert f'action="/samples/{name}"' in page
    assert "public domain" in page
    assert "prove nothing" in page


def test_other_names_and_other_people(client: Client, owner_client: Client):
    for name in ("secret.jpg", "..%2Fastronaut.jpg", "README.md"):
        assert owner_client.post(f"/samples/{name}").status_code == 404
    assert owner_client.get("/samples/astronaut.jpg").status_code == 405
    anonymous = Client()
    assert anonymous.post("/samples/astronaut.jpg")["Location"].startswith("/accounts/login/")
    assert not Upload.objects.exists()
