"""What a right winner needs to be known of a task and its experiments."""

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
    ]
