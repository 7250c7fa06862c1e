"""What the web process loads."""

from __future__ import annotations

import subprocess
import sys

from django.conf import settings

HEAVY = ["cv2", "av", "ai_edge_litert", "tensorflow", "keras", "tflite_runtime", "scipy", "sklearn", "matplotlib"]

PROGRAM = f"""
import sys
import config.asgi
from django.urls import get_resolver, reverse
assert get_resolver().url_patterns
assert reverse("detection:home") == "/"
from django.core.management import load_command_class
load_command_class("detection", "serve")
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def test_the_web_process_loads_no_heavy_library():
    """They cost seconds and hundreds of megabytes in every web process, which never uses them."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", PROGRAM],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
