from django.apps import AppConfig

from detection import checks


class DetectionConfig(AppConfig):
    name = "detection"

    def ready(self) -> None:
        checks.register_all()
