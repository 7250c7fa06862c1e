"""Where a stranger's file lies: under a name of ours, readable by this process alone, run by nobody."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from django.conf import settings as site
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import get_resolver

from detection.models import Upload
from tests import factories

pytestmark = pytest.mark.django_db

OURS = re.compile(r"[0-9a-f-]{36}/source\.(jpg|mp4)")


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/cron.d/face.jpg",
        "..\\..\\face.jpg",
        "/etc/passwd.jpg",
        "face.php.jpg",
        "face.jpg\x00.php.jpg",
        ".htaccess.jpg",
        "a" * 300 + ".jpg",
        "${jndi:x}.jpg",
        "; rm -rf ~ .jpg",
    ],
)
def test_a_name_is_no_path(owner_client: Client, media_root: Path, stored, name: str):
    assert owner_client.post("/upload/", {"file": factories.uploaded(name)}).status_code == 302
    assert [path for path in stored() if not path.startswith(".")] == [Upload.objects.get().file.name]
    assert OURS.fullmatch(Upload.objects.get().file.name)


def test_nobody_else_on_the_machine_reads_it_and_nobody_runs_it(owner_client: Client, media_root: Path):
    owner_client.post("/upload/", {"file": factories.uploaded()})
    file = media_root / Upload.objects.get().file.name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_no_address_leads_into_the_folder(owner_client: Client, media_root: Path):
    """Files are looked up by their analysis; there is no route, static or other, that serves a path."""
    owner_client.post("/upload/", {"file": factories.uploaded()})
    name = Upload.objects.get().file.name
    for path in (f"/media/{name}", f"/static/{name}", f"/static/../media/{name}", f"/{name}", "/media/.incoming/"):
        assert owner_client.get(path).status_code == 404, path
    assert finders.find(name) is None
    served = [
        pattern for pattern in get_resolver().url_patterns if "document_root" in getattr(pattern, "default_args", {})
    ]
    assert not served


def test_the_folder_lies_beside_the_code_and_not_in_it():
    """Nothing below it is imported, and no template or static file is looked for there."""
    media = Path(site.BASE_DIR, "media")
    looked_through = [*site.STATICFILES_DIRS, *(Path(folder) for entry in site.TEMPLATES for folder in entry["DIRS"])]
    assert not [folder for folder in looked_through if media.is_relative_to(folder) or folder.is_relative_to(media)]
    assert not list(media.glob("**/*.py"))
