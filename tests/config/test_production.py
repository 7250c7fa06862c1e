"""What a public site sends and refuses: the settings of production, in a process of their own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys

import pytest
from django.conf import settings

PRODUCTION = {
    "VERIFRAME_ENV_FILE": "",
    "VERIFRAME_HTTPS": "yes",
    "VERIFRAME_ALLOWED_HOSTS": "veriframe.example.org",
    "VERIFRAME_TRUSTED_PROXIES": "1",
    "REDIS_URL": "redis://localhost:6379/0",
    "DATABASE_URL": "postgresql://site@localhost/site",
}

LOOK = """
import json
import django
django.setup()
from django.conf import settings
from django.test import Client
settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
client = Client(headers={"host": "veriframe.example.org"})
seen = {}
pages = {
    "plain": "/",
    "page": "/accounts/login/",
    "static": "/static/css/veriframe.css",
    "health": "/health/",
    "docs": "/api/docs/",
    "nowhere": "/nowhere/",
}
for name, path in pages.items():
    answer = client.get(path, secure=name != "plain")
    cookies = {key: {k: v for k, v in morsel.items() if v} for key, morsel in answer.cookies.items()}
    seen[name] = {"status": answer.status_code, "headers": dict(answer.headers), "cookies": cookies}
names = ["SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE", "DEBUG"]
seen["settings"] = {name: getattr(settings, name) for name in names}
print(json.dumps(seen))
"""


def run(*command: str, **changed: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, **PRODUCTION, "VERIFRAME_SECRET_KEY": secrets.token_urlsafe(50), **changed}
    return subprocess.run(
        [sys.executable, *command], cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False
    )


def test_django_finds_nothing_to_say_about_a_deployment():
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr
    assert "no issues (1 silenced)" in done.stdout, "the one is HSTS preloading, see config.settings"


def test_there_is_no_secret_key_but_the_sites_own():
    done = run("manage.py", "check", VERIFRAME_SECRET_KEY="")
    assert done.returncode != 0
    assert "VERIFRAME_SECRET_KEY" in done.stderr


@pytest.fixture(scope="module")
def seen() -> dict:
    done = run("-c", LOOK, DJANGO_SETTINGS_MODULE="config.settings", DATABASE_URL="sqlite:///:memory:")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_they_are_what_they_are_taken_for(seen: dict):
    expected = {"plain": 301, "page": 200, "static": 200, "health": 200, "docs": 200, "nowhere": 404}
    assert {name: seen[name]["status"] for name in expected} == expected


def test_http_leads_to_https(seen: dict):
    assert seen["plain"]["status"] == 301
    assert seen["plain"]["headers"]["Location"] == "https://veriframe.example.org/"


@pytest.mark.parametrize("name", ["page", "static", "health", "docs", "nowhere"])
def test_every_answer_is_guarded(seen: dict, name: str):
    headers = seen[name]["headers"]
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("name", ["page", "docs", "nowhere"])
def test_a_page_runs_only_what_comes_from_here(seen: dict, name: str):
    policy = dict(
        part.strip().partition(" ")[::2] for part in seen[name]["headers"]["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert (policy["object-src"], policy["base-uri"], policy["frame-ancestors"]) == ("'none'", "'none'", "'none'")
    assert policy["form-action"] == "'self'"
    for name_of, sources in policy.items():
        assert "'unsafe-eval'" not in sources, name_of
        assert "'unsafe-inline'" not in sources or name_of == "style-src", name_of
    assert seen[name]["headers"]["X-Frame-Options"] == "DENY"


def test_cookies_are_for_this_host_and_https_alone(seen: dict):
    cookie = seen["page"]["cookies"]["__Host-csrftoken"]
    assert cookie["secure"] is True
    assert cookie["path"] == "/"
    assert "domain" not in cookie
    assert seen["settings"] == {
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "DEBUG": False,
    }


def test_a_websocket_on_which_nothing_happens_stays_open():
    """A consumer's call to Redis lasts so long when there is no news: the connection must have more patience."""
    program = """
import django
django.setup()
from channels.layers import get_channel_layer
layer = get_channel_layer()
(host,) = layer.hosts
print(layer.brpop_timeout < host["socket_timeout"])
"""
    done = run("-c", program, DJANGO_SETTINGS_MODULE="config.settings")
    assert done.stdout.strip() == "True", done.stderr
