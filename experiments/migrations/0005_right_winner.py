"""What a right winner needs to be known of a task and its experiments."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("experiments", "0004_people_and_faults")]

    operations: list = []
