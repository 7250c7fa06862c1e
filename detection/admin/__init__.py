"""What the admin shows. Importing a module registers its pages."""

from detection.admin import analyses, review, webhooks

__all__ = ["analyses", "review", "webhooks"]
