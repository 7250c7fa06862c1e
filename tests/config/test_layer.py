"""Events to WebSockets through Redis, from processes that serve none."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from channels.layers import get_channel_layer

from config import layer
from tests import services
from tests.conftest import lacking

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        lacking("needs redis-server (Debian: apt install redis-server)")
    with services.redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


def through(settings, url: str) -> None:
    settings.EMBEDDED = False
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [url]}}
    }


def test_many_events_take_one_connection_and_keep_their_order(settings, redis_url: str):
    through(settings, redis_url)

    async def listen() -> list[int]:
        channels = get_channel_layer()
        name = await channels.new_channel()
        await channels.group_add("crowd", name)
        for number in range(50):
            await asyncio.to_thread(layer.send, "crowd", {"type": "news", "number": number})
        return [(await channels.receive(name))["number"] for _ in range(50)]

    assert asyncio.run(listen()) == list(range(50))
    with redis.Redis.from_url(redis_url) as client:
        before = client.info("stats")["total_connections_received"]
        for number in range(50):
            layer.send("crowd", {"type": "news", "number": number})
        assert client.info("stats")["total_connections_received"] - before <= 1


def test_without_redis_there_is_a_line_in_the_log_and_no_error(settings, caplog):
    through(settings, f"redis://127.0.0.1:{services.free_port()}/0")
    with caplog.at_level(logging.WARNING, logger="config.layer"):
        layer.send("crowd", {"type": "news"})
    assert "event to crowd not sent" in caplog.text


def test_a_fork_sends_by_itself(redis_url: str):
    """Dramatiq forks its workers; a loop whose thread stayed with the parent would keep them waiting for ever."""
    program = """
import os, django
django.setup()
from config import layer
layer.send("crowd", {"type": "news"})
child = os.fork()
if child == 0:
    layer.send("crowd", {"type": "news"})
    os._exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {
        "PATH": "/usr/bin:/bin",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "VERIFRAME_ENV_FILE": "",
        "VERIFRAME_DEBUG": "1",
        "REDIS_URL": redis_url,
    }
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, "not sent" in done.stderr) == (0, False), done.stderr
