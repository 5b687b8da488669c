"""The rest of the admin, for reading; tasks and experiments have files of their own."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django_celery_results.models import GroupResult, TaskResult
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from experiments.experiment_admin import ReadOnly, second
from experiments.models import AuditEntry
from experiments.states import Action
from experiments.task_admin import column

ACTION_COLOURS = {
    Action.QUARANTINE.value: "warning",
    Action.DRAIN.value: "warning",
    Action.RELEASE.value: "danger",
    Action.PAUSE.value: "warning",
    Action.CANCEL.value: "danger",
    **dict.fromkeys(
        (Action.LIMIT.value, Action.PRIORITY.value, Action.EXTEND.value, Action.CLONE.value), "info"
    ),
    **dict.fromkeys(
        (Action.RETURN.value, Action.UNDRAIN.value, Action.START.value, Action.RESUME.value),
        "success",
    ),
    Action.RETRY.value: "success",
    Action.OVERRULE.value: "warning",
}


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("moment", "actor", "kind", "target", "detail")
    list_filter = ("action", "actor", "at")
    search_fields = ("actor", "action", "target", "detail")
    list_per_page = 50
    fields = ("moment", "actor", "action", "target", "detail")

    @column("When", ordering="at")
    def moment(self, entry: AuditEntry) -> str:
        return second(entry.at)

    @column("What", ordering="action", label=ACTION_COLOURS)
    def kind(self, entry: AuditEntry) -> str:
        return entry.action


# ── what other applications brought, in this site's look ───────────────────────────────────

admin.site.unregister([TaskResult, GroupResult, User, Group])


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("date_done", "task_name", "state", "short_result", "worker")
    list_filter = ("status", "worker", "date_done")
    search_fields = ("task_id", "task_args", "result")
    fields = (
        *("task_id", "task_name", "state", "worker", "task_args", "task_kwargs"),
        *("result", "traceback", "date_created", "date_started", "date_done"),
    )

    @column("Status", ordering="status", label={"SUCCESS": "success"})
    def state(self, job: TaskResult) -> str:
        return str(job.status)

    @column("Result")
    def short_result(self, job: TaskResult) -> str:
        return (job.result or "–")[:200]


@admin.register(User)
class OurUserAdmin(UserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class OurGroupAdmin(GroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass
