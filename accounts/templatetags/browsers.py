"""What a browser calls itself, in words that people know it by."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _

register = template.Library()

# By a mark in the User-Agent header. Each also carries the marks of those below it, so the order matters.
BROWSERS = {"Edg": "Edge", "OPR/": "Opera", "SamsungBrowser": "Samsung Internet", "Firefox": "Firefox"}
BROWSERS |= {"FxiOS": "Firefox", "CriOS": "Chrome", "Chrome": "Chrome", "Safari": "Safari"}
SYSTEMS = {"Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS X": "macOS"}
SYSTEMS |= {"CrOS": "ChromeOS", "Linux": "Linux"}


@register.filter
def browser(user_agent: str) -> str:
    """For example "Firefox, Linux"; what is unknown by the beginning of its own words."""
    name = next((name for mark, name in BROWSERS.items() if mark in user_agent), "")
    if not name:
        return user_agent[:40] or _("Unknown browser")
    system = next((system for mark, system in SYSTEMS.items() if mark in user_agent), "")
    return f"{name}, {system}" if system else name
