"""``/predict`` for people without an account, where the site's owner wants that (``VERIFRAME_OPEN_PREDICT``).

What they send belongs to a user of its own, whom nobody can sign in as. Whoever sent a file gets a signed key to what
was found in it, good for an hour; after that the file is deleted, see ``services.sweep``.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.core import signing
from django.http import Http404

from accounts.models import User
from detection.models import Analysis

EMAIL = "everybody who uses predict"  # no address at all, so that nobody can sign up with it
LASTS = timedelta(hours=1)
SALT = "detection.open_access"


def open_user() -> User:
    user = User.objects.filter(email=EMAIL).first()
    return user or User.objects.get_or_create(email=EMAIL, defaults={"is_active": False, "password": "!"})[0]


def is_open(analysis: Analysis) -> bool:
    return analysis.upload.user.email == EMAIL


def key_of(analysis: Analysis) -> str:
    return signing.dumps(str(analysis.pk), salt=SALT)


def get_analysis(analysis_id: uuid.UUID, key: str) -> Analysis:
    """What the key opens. Raises Http404 for a bad or old one, and for everything that belongs to somebody."""
    try:
        opened = signing.loads(key, salt=SALT, max_age=LASTS)
    except signing.BadSignature:
        raise Http404 from None
    found = Analysis.objects.filter(pk=analysis_id, upload__user__email=EMAIL).select_related("upload__user").first()
    if found is None or opened != str(analysis_id):
        raise Http404
    return found
