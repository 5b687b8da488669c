"""An installation of an earlier version becomes one of this version by `migrate`."""

import os
import subprocess
import sys
from pathlib import Path

from experiments.roles import ROLES

ROOT = Path(__file__).resolve().parents[2]
# As the version before presets has left it, with one permission taken away and one given
EARLIER = """
import django
django.setup()
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("migrate", "experiments", "0008", verbosity=0)
Permission.objects.filter(content_type__model="preset").delete()
Group.objects.get(name="engineer").permissions.remove(Permission.objects.get(codename="add_tuningtask"))
Group.objects.get(name="viewer").permissions.add(Permission.objects.get(codename="add_user"))
"""
UPGRADE = """
import django
django.setup()
from django.contrib.auth.models import Group
from django.core.management import call_command
call_command("migrate", verbosity=0)
for group in Group.objects.all():
    for label, codename in group.permissions.values_list("content_type__app_label", "codename"):
        print(group.name, f"{label}.{codename}")
"""


def test_groups_get_what_is_new_and_not_what_was_taken_from_them(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "AUTOTUNER_DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "autotuner_site.settings",
    }

    def run(program: str) -> list[str]:
        argv = [sys.executable, "-c", program]
        done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    run(EARLIER)
    shipped = {f"{role} {name}" for role, names in ROLES.items() for name in names}
    upgraded = shipped - {"engineer experiments.add_tuningtask"} | {"viewer auth.add_user"}
    assert set(run(UPGRADE)) == upgraded
    assert set(run(UPGRADE)) == upgraded
