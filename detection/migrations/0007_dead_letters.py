import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("detection", "0006_review")]

    operations = [
        migrations.AlterField(
            model_name="analysis",
            name="error_code",
            field=models.CharField(
                blank=True,
                choices=[
                    ("unreadable_media", "unreadable media"),
                    ("unsupported_codec", "unsupported codec"),
                    ("media_too_long", "media too long"),
                    ("too_many_pixels", "too many pixels"),
                    ("model_unavailable", "model unavailable"),
                    ("out_of_memory", "out of memory"),
                    ("timed_out", "timed out"),
                    ("disk_full", "disk full"),
                    ("internal_error", "internal error"),
                ],
                max_length=30,
                verbose_name="error code",
            ),
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="action",
            field=models.CharField(
                choices=[
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
                ],
                db_index=True,
                max_length=12,
            ),
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("actor", models.CharField(max_length=100, verbose_name="task")),
                ("message_id", models.CharField(blank=True, max_length=50, verbose_name="message")),
                ("args", models.JSONField(default=list, verbose_name="about")),
                ("tries", models.PositiveIntegerField(verbose_name="tries")),
                ("error", models.CharField(max_length=100, verbose_name="error")),
                ("place", models.CharField(blank=True, max_length=200, verbose_name="place")),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("sent", "Sent again"), ("dismissed", "Dismissed")],
                        default="waiting",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("given_up", models.PositiveIntegerField(default=1, verbose_name="times given up")),
                ("at", models.DateTimeField(db_index=True, verbose_name="last given up")),
                (
                    "analysis",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="dead_letters",
                        to="detection.analysis",
                        verbose_name="analysis",
                    ),
                ),
            ],
            options={
                "verbose_name": "message given up",
                "verbose_name_plural": "messages given up",
                "ordering": ["-at"],
            },
        ),
    ]
