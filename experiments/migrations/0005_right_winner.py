"""What a right winner needs to be known of a task and its experiments."""

import django.db.models.deletion
from django.db import migrations, models
from django.utils import timezone

from experiments.columns import JsonText

ACTIONS = (
    *("quarantine", "return", "drain", "undrain", "release", "limit", "start", "pause", "resume"),
    *("cancel", "retry", "clone", "extend", "priority", "overrule"),
)
KINDS = (
    *("bad_flag", "out_of_memory", "start_timeout", "engine_crashed", "benchmark_errors"),
    *("timeout", "lost", "cancelled"),
)
VETO_STATES = ("standing", "lifted", "tested", "overruled")


def words(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


class Migration(migrations.Migration):
    dependencies = [("experiments", "0004_people_and_faults")]

    operations: list = [
        migrations.AddIndex(
            model_name="experiment",
            index=models.Index(fields=["node", "finished_at"], name="who_is_on_a_node"),
        ),
        migrations.AddField(
            "experiment", "repeat_of", models.PositiveIntegerField(blank=True, null=True)
        ),
        migrations.AddField(
            "experiment", "pruned", models.BooleanField(db_default=False, default=False)
        ),
        migrations.AddField(
            "experiment", "pruned_why", models.TextField(blank=True, db_default="", default="")
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
        migrations.AddField("experiment", "effective", JsonText(db_default={}, default=dict)),
        migrations.AddField(
            "experiment",
            "reused_from",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="experiments.experiment",
            ),
        ),
        migrations.AddField(
            "experiment",
            "measured_as",
            models.CharField(blank=True, db_default="", default="", max_length=300),
        ),
        migrations.AddField("experiment", "environment", JsonText(db_default={}, default=dict)),
        migrations.AddField(
            "experiment",
            "fingerprint",
            models.CharField(
                blank=True, db_default="", db_index=True, default="", max_length=16
            ),
        ),
        migrations.AlterField(
            "auditentry", "action", models.CharField(choices=words(ACTIONS), max_length=20)
        ),
        migrations.CreateModel(
            "Veto",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=64)),
                ("parameters", JsonText()),
                (
                    "state",
                    models.CharField(
                        choices=words(VETO_STATES), default="standing", max_length=10
                    ),
                ),
                ("kind", models.CharField(choices=words(KINDS), max_length=20)),
                ("chance", models.FloatField()),
                ("reason", models.TextField()),
                ("sources", JsonText(default=list)),
                ("created_at", models.DateTimeField(default=timezone.now)),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=models.CASCADE,
                        related_name="vetoes",
                        to="experiments.tuningtask",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "vetoes",
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["task", "key"], name="one_veto_per_configuration"
                    )
                ],
            },
        ),
    ]
