"""Who may do what: every page, button and socket asks here, and the four groups that are there.

A rule takes a user and says yes or no. All of them want a member of the staff.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections

COMMAND_ENGINES = ("custom", "job")  # Their command is any program
CHOOSE_PROGRAMS = ("LD_", "PATH", "PYTHON")  # Variables that put one program in another's place

# Those that Django does not make by itself
OWN_PERMISSIONS = {
    "steer_tuningtask": "Can start, pause, cancel and retry",
    "write_commands": "Can write the commands that workers run",
}
VIEWER = (
    *("experiments.view_tuningtask", "experiments.view_experiment", "experiments.view_move"),
    *("experiments.view_pool", "experiments.view_preset"),
)
OPERATOR = (
    *(*VIEWER, "experiments.steer_tuningtask", "experiments.view_auditentry"),
    "django_celery_results.view_taskresult",
)
ENGINEER = (
    *(*OPERATOR, "experiments.add_tuningtask", "experiments.change_tuningtask"),
    *("experiments.add_preset", "experiments.change_preset", "experiments.delete_preset"),
)
# Not to change users: who may do that can make himself a superuser
ADMINISTRATOR = (
    *(*ENGINEER, "experiments.delete_tuningtask", "experiments.write_commands"),
    *("experiments.operate_pool", "auth.view_user", "auth.view_group"),
)
ROLES = {
    "viewer": VIEWER,
    "operator": OPERATOR,
    "engineer": ENGINEER,
    "administrator": ADMINISTRATOR,
}


def is_staff_with(user: Any, *permissions: str) -> bool:
    """Active staff with at least one of these permissions."""
    may = any(user.has_perm(f"experiments.{permission}") for permission in permissions)
    return bool(user.is_active and user.is_staff and may)


# ── tasks and experiments ───────────────────────────────────────────────────────────────────


def may_view(user: Any) -> bool:
    """See tasks live."""
    return is_staff_with(user, "view_tuningtask", "steer_tuningtask", "change_tuningtask")


def may_view_experiments(user: Any) -> bool:
    """See experiments, with their commands and logs."""
    return is_staff_with(user, "view_experiment")


def may_export(user: Any) -> bool:
    """Take a task's results away: what is seen of it and of its experiments."""
    return may_view(user) and may_view_experiments(user)


def may_steer(user: Any) -> bool:
    """Start, pause, cancel, retry; who may edit a task may do that too."""
    return is_staff_with(user, "steer_tuningtask", "change_tuningtask")


def may_edit(user: Any) -> bool:
    """Write tasks, new ones or those that were not started."""
    return is_staff_with(user, "add_tuningtask", "change_tuningtask")


def may_see_presets(user: Any) -> bool:
    return is_staff_with(user, "view_preset", "change_preset")


def may_write_presets(user: Any) -> bool:
    """New ones, and in place of those that are there."""
    return all(is_staff_with(user, name) for name in ("add_preset", "change_preset"))


def may_write_commands(user: Any) -> bool:
    return is_staff_with(user, "write_commands")


class Rights(NamedTuple):
    """What somebody may do on the page of a task: pages are drawn once for all who may the same."""

    steer: bool = False
    edit: bool = False
    commands: bool = False

    def may_write(self, specification: Mapping[str, Any]) -> bool:
        """Edit this task, or make a new one of it: with a command an administrator's."""
        return self.edit and (self.commands or not command_in(specification))


def rights(user: Any) -> Rights:
    """Of this user."""
    return Rights(may_steer(user), may_edit(user), may_write_commands(user))


def command_in(specification: Mapping[str, Any]) -> str:
    """The field by which this task file itself says which program workers run; else nothing."""
    engine = specification.get("engine") or {}
    if specification.get("base_runtime") in COMMAND_ENGINES or specification.get("command"):
        return "command"
    if engine.get("executable"):
        return "engine.executable"
    if any(str(name).startswith(CHOOSE_PROGRAMS) for name in engine.get("env") or ()):
        return "engine.env"
    varied = map(str, specification.get("parameters") or ())
    choosing = tuple(f"env.{beginning}" for beginning in CHOOSE_PROGRAMS)
    return next((f"parameters.{name}" for name in varied if name.startswith(choosing)), "")


# ── the pool ────────────────────────────────────────────────────────────────────────────────


def may_view_pool(user: Any) -> bool:
    return is_staff_with(user, "view_pool", "operate_pool")


def may_operate_pool(user: Any) -> bool:
    return is_staff_with(user, "operate_pool")


# ── the groups ──────────────────────────────────────────────────────────────────────────────


# The permissions that were there when a migration began, by database
_before: dict[str, set[str]] = {}


def note_permissions(using: str, **_: Any) -> None:
    """Before a migration: which permissions are known already."""
    _before[using] = set()
    if Permission._meta.db_table in connections[using].introspection.table_names():
        there = Permission.objects.using(using)
        names = there.values_list("content_type__app_label", "codename")
        _before[using] = {f"{label}.{codename}" for label, codename in names}


def make_roles(using: str, **_: Any) -> None:
    """After a migration: the groups that are missing, and to the others what is new with it. What
    was known before stays as it is: somebody may have taken it from a group on purpose."""
    for label in ("experiments", "auth", "django_celery_results"):  # Not yet, for later apps
        create_permissions(apps.get_app_config(label), verbosity=0, using=using)
    task = apps.get_model("experiments", "TuningTask")
    of_tasks = ContentType.objects.db_manager(using).get_for_model(task)
    for codename, name in OWN_PERMISSIONS.items():
        Permission.objects.using(using).get_or_create(
            content_type=of_tasks, codename=codename, defaults={"name": name}
        )
    every = {name for names in ROLES.values() for name in names}
    known = _before.pop(using, every)
    for role, names in ROLES.items():
        group, is_new = Group.objects.using(using).get_or_create(name=role)
        given = [name for name in names if is_new or name not in known]
        group.permissions.add(*(permission(name, using) for name in given))


def permission(name: str, using: str) -> Permission:
    """The one that `user.has_perm` calls so."""
    label, codename = name.split(".")
    named = Permission.objects.using(using)
    return named.get(content_type__app_label=label, codename=codename)
