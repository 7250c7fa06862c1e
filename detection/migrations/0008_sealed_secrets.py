"""Secrets of webhooks are sealed; the log of acts knows one act more."""

from django.db import migrations, models

import detection.models
from config import sealing


ACTIONS = [
    ("read", "read media"),
    ("assign", "assigned"),
    ("review", "gave an opinion"),
    ("decide", "decided"),
    ("dispute", "disputed"),
    ("withdraw", "withdrew a dispute"),
    ("supersede", "ended by a new run"),
    ("rerun", "ran again"),
    ("cancel", "cancelled"),
    ("delete", "deleted"),
    ("extend", "extended retention"),
    ("end", "ended retention"),
    ("consent", "changed consent"),
    ("export", "exported for training"),
    ("erase", "deleted an account"),
    ("resend", "sent a message again"),
    ("dismiss", "dismissed a message"),
    ("rights", "changed rights"),
]


def seal(apps, schema_editor):
    _change(apps, schema_editor, lambda stored: sealing.seal(sealing.unseal(stored)))


def unseal(apps, schema_editor):
    _change(apps, schema_editor, sealing.unseal)


def _change(apps, schema_editor, change):
    for name in ("WebhookEndpoint", "CallbackKey"):
        rows = apps.get_model("detection", name).objects.using(schema_editor.connection.alias)
        for row in rows.iterator():
            previous = row.sealed_previous_secret
            rows.filter(pk=row.pk).update(
                sealed_secret=change(row.sealed_secret), sealed_previous_secret=change(previous) if previous else ""
            )


def _columns():
    for model in ("webhookendpoint", "callbackkey"):
        yield migrations.RenameField(model, "secret", "sealed_secret")
        yield migrations.RenameField(model, "previous_secret", "sealed_previous_secret")
        yield migrations.AlterField(
            model,
            "sealed_secret",
            models.CharField(default=detection.models.new_sealed_secret, editable=False, max_length=255),
        )
        yield migrations.AlterField(
            model, "sealed_previous_secret", models.CharField(blank=True, editable=False, max_length=255)
        )


class Migration(migrations.Migration):
    dependencies = [
        ("detection", "0007_dead_letters"),
    ]

    operations = [
        *_columns(),
        migrations.RunPython(seal, unseal),
        # Choices alone: no table is rebuilt, so the log keeps its triggers (see 0006).
        migrations.AlterField("auditentry", "action", models.CharField(choices=ACTIONS, db_index=True, max_length=12)),
    ]
