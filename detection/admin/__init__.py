"""What the admin shows. Importing a module registers its pages."""

from detection.admin import analyses, dead_letters, models, review, webhooks

__all__ = ["analyses", "dead_letters", "models", "review", "webhooks"]
