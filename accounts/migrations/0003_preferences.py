from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_api_token"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="language",
            field=models.CharField(blank=True, max_length=10, verbose_name="language"),
        ),
        migrations.AddField(
            model_name="user",
            name="theme",
            field=models.CharField(
                choices=[("auto", "as the device"), ("light", "light"), ("dark", "dark")],
                default="auto",
                max_length=5,
                verbose_name="theme",
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="notify_analyses",
            field=models.BooleanField(default=False, verbose_name="e-mail when an analysis ends"),
        ),
        migrations.AddField(
            model_name="user",
            name="notify_reviews",
            field=models.BooleanField(default=True, verbose_name="e-mail when a person has reviewed a result"),
        ),
    ]
