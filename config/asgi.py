"""The ASGI application: HTTP and WebSocket."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402  (Django must be set up first)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import reverse  # noqa: E402

from accounts.middleware import TokenOrBrowser  # noqa: E402
from config.body_limit import BodyLimit  # noqa: E402
from config.metrics import CountedSockets  # noqa: E402
from detection.routing import websocket_urlpatterns  # noqa: E402

MULTIPART_OVERHEAD = 1024 * 1024  # boundaries, headers and small fields around the file

sockets = URLRouter(websocket_urlpatterns)
application = ProtocolTypeRouter(
    {
        "http": BodyLimit(
            get_asgi_application(),
            limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
            limits=dict.fromkeys(
                (reverse("detection:upload"), reverse("api:analysis-list"), "/predict", "/predict/"),
                settings.MAX_UPLOAD_BYTES + MULTIPART_OVERHEAD,
            ),
        ),
        "websocket": CountedSockets(
            TokenOrBrowser(with_token=sockets, browser=AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)))
        ),
    }
)
