from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from detection import checks


class DetectionConfig(AppConfig):
    name = "detection"
    verbose_name = _("Detection")

    def ready(self) -> None:
        checks.register_all()
