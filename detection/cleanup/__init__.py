"""Clean-up: deletes what has served its time, and repairs what disagrees between rows and disk.

``expire`` looks at the clocks and is cheap, ``tidy`` walks through the media folder; both run inside the workers
(``settings.JOBS``) and by hand (``manage.py clean_media``). Every deletion locks its rows and looks again, so that
several of them at once, and everything else that goes on, do no harm.
"""

from detection.cleanup.clocks import expire
from detection.cleanup.disk import tidy

__all__ = ["expire", "tidy"]
