"""Secrets that lie encrypted in the database."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import User
from config import sealing
from detection.models import CallbackKey, WebhookEndpoint


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ann@example.org")  # without a password, whose hash is slow on purpose


def test_what_is_sealed_is_read_again_and_says_nothing():
    sealed = sealing.seal("JBSWY3DPEHPK3PXP")
    assert sealing.unseal(sealed) == "JBSWY3DPEHPK3PXP"
    assert "JBSWY3DPEHPK3PXP" not in sealed
    assert sealing.seal("JBSWY3DPEHPK3PXP") != sealed, "nobody sees that two are the same"


def test_a_changed_one_is_refused():
    sealed = sealing.seal("x")
    with pytest.raises(sealing.CannotUnseal):
        sealing.unseal(sealed[:-6] + "AAAA==")
    with pytest.raises(sealing.CannotUnseal):
        sealing.unseal(sealing.MARK)


def test_a_key_of_before_still_opens_and_one_that_is_unknown_does_not(settings: LazySettings):
    sealed, before = sealing.seal("x"), settings.SECRET_KEY
    settings.SECRET_KEY = "another " * 8
    assert not sealing.is_readable(sealed)
    settings.SECRET_KEY_FALLBACKS = [before]
    assert sealing.unseal(sealed) == "x"
    fresh = sealing.reseal(sealed)
    settings.SECRET_KEY_FALLBACKS = []
    assert sealing.unseal(fresh) == "x"


@pytest.mark.django_db
def test_the_secret_key_is_changed(user: User, settings: LazySettings, capsys: pytest.CaptureFixture[str]):
    """With the old one kept, reseal, without the old one: nobody notices."""
    factor = Authenticator.objects.create(user=user, type="totp", data={"secret": sealing.seal("KEY")})
    codes = {"seed": sealing.seal("SEED"), "migrated_codes": [sealing.seal("CODE")], "used_mask": 5}
    recovery = Authenticator.objects.create(user=user, type="recovery_codes", data=codes)
    webhook = WebhookEndpoint.objects.create(user=user, url="https://example.org/")
    callback = CallbackKey.objects.create(user=user)
    secrets = webhook.secret, callback.secret
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another " * 8, [settings.SECRET_KEY]
    call_command("reseal")
    settings.SECRET_KEY_FALLBACKS = []
    for row in (factor, recovery, webhook, callback):
        row.refresh_from_db()
    assert (webhook.secret, callback.secret) == secrets
    assert sealing.unseal(factor.data["secret"]) == "KEY"
    assert sealing.unseal(recovery.data["seed"]) == "SEED"
    assert sealing.unseal(recovery.data["migrated_codes"][0]) == "CODE"
    assert recovery.data["used_mask"] == 5
    assert "2 sealed" in capsys.readouterr().out


@pytest.mark.django_db
def test_what_no_key_opens_is_counted(user: User, settings: LazySettings, capsys: pytest.CaptureFixture[str]):
    WebhookEndpoint.objects.create(user=user, url="https://example.org/")
    settings.SECRET_KEY = "another " * 8
    with pytest.raises(CommandError, match="1 cannot be read"):
        call_command("reseal")
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.django_db
def test_rows_of_the_version_before_are_sealed_and_the_way_back_is_open(user: User):
    """What the two migrations do to rows; an unsealed one can also come from a process of that version."""
    callback = CallbackKey.objects.create(user=user, sealed_secret="whsec_new", sealed_previous_secret="whsec_old")
    factor = Authenticator.objects.create(user=user, type="totp", data={"secret": "KEY"})
    assert callback.secret == "whsec_new"
    editor = SimpleNamespace(connection=connection)
    migrations = [
        import_module(name)
        for name in ("detection.migrations.0008_sealed_secrets", "accounts.migrations.0004_sealed_second_factors")
    ]
    for migration in migrations:
        migration.seal(apps, editor)
        migration.seal(apps, editor)  # half of it may have been done by then
    for row in (callback, factor):
        row.refresh_from_db()
    assert callback.sealed_secret.startswith(sealing.MARK)
    assert callback.sealed_previous_secret.startswith(sealing.MARK)
    assert (callback.secret, sealing.unseal(callback.sealed_previous_secret)) == ("whsec_new", "whsec_old")
    assert sealing.unseal(factor.data["secret"]) == "KEY"
    assert factor.data["secret"] != "KEY"
    for migration in migrations:
        migration.unseal(apps, editor)
    for row in (callback, factor):
        row.refresh_from_db()
    assert (callback.sealed_secret, callback.sealed_previous_secret) == ("whsec_new", "whsec_old")
    assert factor.data == {"secret": "KEY"}
