from django.db import migrations
from django.db.models import Q

from experiments import masking


def mask(apps, schema_editor):
    """What was written before secrets were left out of errors: without them from now on, as in every
    error since. There is no way back, and none is needed."""
    database = schema_editor.connection.alias

    def rows(name):
        return apps.get_model("experiments", name).objects.using(database)

    failed = ~Q(error_message="") | ~Q(error_lines="")
    for task in list(rows("TuningTask").only("specification").order_by("pk")):
        known = masking.known_of(task.specification)
        for found, columns in (
            (rows("Experiment").filter(failed, task=task), ("error_message", "error_lines")),
            (rows("Move").filter(experiment__task=task).exclude(reason=""), ("reason",)),
            (rows("Veto").filter(task=task), ("reason",)),
        ):
            for one in list(found.order_by("pk").values("pk", *columns)):
                masked = {column: masking.hide(one[column], known) for column in columns}
                if any(masked[column] != one[column] for column in columns):
                    found.model.objects.using(database).filter(pk=one["pk"]).update(**masked)


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0010_sorted_lists'),
    ]

    operations = [
        migrations.RunPython(mask, migrations.RunPython.noop),
    ]
