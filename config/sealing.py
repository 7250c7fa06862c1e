"""Secrets that must be read again lie encrypted in the database: keys of second factors, secrets of webhooks.

Whoever gets hold of the database alone (a backup, a copy for a developer) can neither make codes nor sign webhooks with
it. The key comes from ``SECRET_KEY``, which is never stored there; keys in ``SECRET_KEY_FALLBACKS`` still open what was
sealed with them, and ``manage.py reseal`` closes it with the present one. Passwords, tokens and reset links need no
sealing: of these only hashes are kept.

Fernet (AES-128 in CBC mode with HMAC-SHA256) out of ``cryptography``; the keys by HKDF-SHA256 with a label of their
own, so that they are no key that Django signs with.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

MARK = "sealed:"
LABEL = b"veriframe.sealing.1"


class CannotUnseal(Exception):  # noqa: N818
    """It was sealed with a key that is neither ``SECRET_KEY`` nor one of its fallbacks, or was damaged."""

    silent_variable_failure = True  # to a template it is as if there were nothing

    def __init__(self) -> None:
        super().__init__("a stored secret cannot be read: was VERIFRAME_SECRET_KEY changed?")


def seal(text: str) -> str:
    """``text`` encrypted and authenticated, in ASCII: 16 bytes more of it make 22 characters more, from 107 on."""
    return MARK + _box().encrypt(text.encode()).decode()


def unseal(stored: str) -> str:
    """What ``seal`` was given.

    Text that was never sealed is returned as it is: a process of the version before may write some while the new one
    is being rolled out. Raises CannotUnseal.
    """
    if not stored.startswith(MARK):
        return stored
    try:
        return _box().decrypt(stored.removeprefix(MARK).encode()).decode()
    except InvalidToken:
        raise CannotUnseal from None


def is_readable(stored: str) -> bool:
    """Whether ``unseal`` would return."""
    try:
        unseal(stored)
    except CannotUnseal:
        return False
    return True


def reseal(stored: str) -> str:
    """The same secret, sealed with the present key. Raises CannotUnseal."""
    return seal(unseal(stored))


def _box() -> MultiFernet:
    return _box_for((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=4)
def _box_for(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(urlsafe_b64encode(_derived(key))) for key in keys])


def _derived(key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=LABEL).derive(key.encode())
