"""What a right winner needs to be known of a task and its experiments."""

import django.db.models.deletion
from django.db import migrations, models

from experiments.columns import JsonText


class Migration(migrations.Migration):
    dependencies = [("experiments", "0004_people_and_faults")]

    operations: list = [
        migrations.AddIndex(
            model_name="experiment",
            index=models.Index(fields=["node", "finished_at"], name="who_is_on_a_node"),
        ),
        migrations.AddField("experiment", "objective_values", JsonText(db_default=[], default=list)),
        migrations.AddField("experiment", "penalty", models.FloatField(blank=True, null=True)),
        migrations.AlterField("tuningtask", "objective", models.TextField()),
        migrations.CreateModel(
            name="Samples",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("level", models.CharField(max_length=200)),
                ("superseded", models.BooleanField(default=False)),
                ("data", JsonText(default=dict)),
                (
                    "experiment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="samples",
                        to="experiments.experiment",
                    ),
                ),
            ],
            options={"ordering": ["id"]},
        ),
    ]
