"""The API's description, and the page to read it and try it out. Everything comes from this server."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from django.utils.translation import override
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.negotiation import DefaultContentNegotiation


@lru_cache(maxsize=1)
def _described() -> dict[str, Any]:
    """The same for everybody, and a second's work: everybody may ask for it."""
    with override("en"):  # whoever asks first
        found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


class OnceGenerator(SchemaGenerator):
    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        del request, public
        return _described()


class Schema(SpectacularAPIView):
    """OpenAPI 3, as YAML or, with ``Accept: application/json``, as JSON."""

    generator_class = OnceGenerator
    content_negotiation_class = DefaultContentNegotiation


# Swagger UI writes style attributes; scripts stay bound to this server.
@method_decorator(csp_update({"style-src": ["'self'", "'unsafe-inline'"]}), name="dispatch")
class Docs(SpectacularSwaggerSplitView):
    """Swagger UI."""

    template_name = "api/docs.html"
