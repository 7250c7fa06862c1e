"""A real browser against a real server: `manage.py serve` in its own process with its own database and media."""
