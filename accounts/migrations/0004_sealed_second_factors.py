"""Keys of second factors that were stored as they are are sealed."""

from django.db import migrations

from config import sealing


def seal(apps, schema_editor):
    _change(apps, schema_editor, lambda stored: sealing.seal(sealing.unseal(stored)))


def unseal(apps, schema_editor):
    _change(apps, schema_editor, sealing.unseal)


def _change(apps, schema_editor, change):
    factors = apps.get_model("mfa", "Authenticator").objects.using(schema_editor.connection.alias)
    for factor in factors.iterator():
        data = dict(factor.data)
        for name in ("secret", "seed"):
            if name in data:
                data[name] = change(data[name])
        if "migrated_codes" in data:
            data["migrated_codes"] = [change(code) for code in data["migrated_codes"]]
        factors.filter(pk=factor.pk).update(data=data)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_preferences"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [migrations.RunPython(seal, unseal)]
