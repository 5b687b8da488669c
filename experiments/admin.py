"""The audit, the results of jobs, and people; tasks and experiments have files of their own."""

import json
import re
from collections.abc import Iterable
from copy import copy
from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django_celery_results.models import GroupResult, TaskResult
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.views import ChangeList

from experiments import preset_admin  # noqa: F401  It registers its pages
from experiments.experiment_admin import page_url
from experiments.model_pages import Audited, ReadOnly, RowsPage, block, column, pill
from experiments.models import AuditEntry, Experiment, TuningTask
from experiments.moments import moment
from experiments.states import OF_THE_POOL, Action, Status
from experiments.task_admin import live_url
from experiments.tones import TONES

ACTION_TONES = {
    **dict.fromkeys((Action.QUARANTINE, Action.DRAIN, Action.PAUSE, Action.OVERRULE), "soft"),
    **dict.fromkeys((Action.RELEASE, Action.CANCEL, Action.DELETE), "bad"),
    **dict.fromkeys((Action.RETURN, Action.UNDRAIN, Action.START, Action.RESUME), "good"),
    Action.RETRY: "good",
}


class LinkedList(ChangeList):  # type: ignore[misc]
    """A page of rows, each with the row that it is about: one query for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(cast(Any, self).result_list)
        self.opts = cast(Any, self).model_admin.opts
        cast(Any, self).model_admin.look_up(self.result_list)


class Linked:
    """An admin whose rows are about others, which may be gone."""

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[LinkedList]:
        return LinkedList

    def get_object(self, *args: Any, **options: Any) -> Any:
        row = cast(Any, super()).get_object(*args, **options)
        if row is not None:
            self.look_up([row])
        return row

    def look_up(self, rows: Iterable[Any]) -> None:
        raise NotImplementedError


@admin.register(AuditEntry)
class AuditEntryAdmin(Linked, ReadOnly, RowsPage):
    list_title = "Audit: who did what"
    nothing = "Nobody has done anything yet"
    what_next = "What people do to tasks, GPUs and users is written down here."
    list_display = ("moment", "actor", "kind", "about", "detail")
    list_filter = ("action", "actor", "at")
    search_fields = ("actor", "action", "target", "detail")
    search_help_text = "Who, what, or of what"
    list_per_page = 50
    fields = ("moment", "actor", "kind", "about", "detail")

    def look_up(self, rows: Iterable[AuditEntry]) -> None:
        names = [entry.target for entry in rows if entry.action not in OF_THE_POOL]
        tasks = TuningTask.objects.only("name").in_bulk(names, field_name="name")
        for entry in rows:
            entry.task = tasks.get(entry.target)  # type: ignore[attr-defined]

    @column("When", ordering="at")
    def moment(self, entry: AuditEntry) -> SafeString:
        return moment(entry.at)

    @column("What", ordering="action")
    def kind(self, entry: AuditEntry) -> SafeString:
        return pill(entry.action, ACTION_TONES.get(Action(entry.action), "busy"))

    @column("Of what", ordering="target")
    def about(self, entry: Any) -> SafeString | str:
        """A link, as long as it is there: to the task, or to the GPUs."""
        if entry.action in OF_THE_POOL:
            return link(reverse("gpus"), entry.target)
        return link(live_url(entry.task), entry.target) if entry.task else str(entry.target)


def link(address: str, text: str) -> SafeString:
    return format_html('<a class="at-link" href="{}">{}</a>', address, text)


# ── what other applications brought, in this site's look ───────────────────────────────────

admin.site.unregister([TaskResult, GroupResult, User, Group])


@admin.register(TaskResult)
class TaskResultAdmin(Linked, ReadOnly, RowsPage):
    list_title = "Job results: what workers were told to run, and what came of it"
    nothing = "No job has ended yet"
    what_next = mark_safe(
        "Each experiment that a worker runs leaves one here. While tasks run and none comes, ask "
        "<code>manage.py doctor</code> whether there is a worker."
    )
    list_display = ("done", "experiment", "outcome", "job", "says", "worker")
    list_filter = ("status", "worker", "date_done")
    search_fields = ("task_id", "result")
    search_help_text = "A job's id, or a word of its result"
    list_per_page = 50
    fields = (
        *("done", "experiment", "outcome", "says", "job", "worker", "task_id", "task_name"),
        *("task_args", "created", "answer", "failure"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # In our words: the rows' own are in the migrations of the application that they are of
        self.opts = copy(TaskResult._meta)
        self.opts.verbose_name, self.opts.verbose_name_plural = "job result", "job results"

    def look_up(self, rows: Iterable[TaskResult]) -> None:
        """The experiment is the first argument of the job."""
        keys = {job.pk: re.search(r"\d{1,18}", str(job.task_args or "")) for job in rows}
        wanted = {int(match[0]) for match in keys.values() if match}
        found = Experiment.objects.select_related("task").in_bulk(wanted)
        for job in rows:
            match = keys[job.pk]
            job.of = found.get(int(match[0])) if match else None

    @column("Ended", ordering="date_done")
    def done(self, job: TaskResult) -> SafeString:
        return moment(job.date_done)

    @column("Kept since")
    def created(self, job: TaskResult) -> SafeString:
        return moment(job.date_created)

    @column("Experiment")
    def experiment(self, job: Any) -> SafeString | str:
        if job.of is None:
            return str(answer_of(job).get("experiment") or "–")
        return link(page_url(job.of), f"{job.of.task} #{job.of.number}")

    @column("Its status")
    def outcome(self, job: TaskResult) -> SafeString | str:
        word = str(answer_of(job).get("status") or "")
        return pill(word, TONES[Status(word)]) if word in set(Status) else "–"

    @column("Job", ordering="status")
    def job(self, job: TaskResult) -> SafeString:
        tone = {"SUCCESS": "good", "FAILURE": "bad"}.get(job.status, "busy")
        return pill(job.status, tone)

    @column("Says")
    def says(self, job: TaskResult) -> str:
        said = answer_of(job)
        score = said.get("objective_score")
        return str(said.get("error") or ("–" if score is None else f"score {score:.4g}"))[:200]

    @column("Result as kept")
    def answer(self, job: TaskResult) -> SafeString:
        return block(job.result or "–")

    @column("Traceback")
    def failure(self, job: TaskResult) -> SafeString:
        return block(job.traceback or "–")


def answer_of(job: TaskResult) -> dict[str, Any]:
    """What `run_experiment` returned; of a job that raised, its error."""
    if job.status == "RETRY":
        return {"error": "handed back, and run again"}
    try:
        said = json.loads(job.result or "{}")
    except ValueError:
        return {"error": job.result}
    if not isinstance(said, dict):
        return {"error": str(said)}
    is_error = "exc_type" in said
    return {"error": f"{said['exc_type']}: {said.get('exc_message')}"} if is_error else said


@admin.register(User)
class OurUserAdmin(Audited, UserAdmin, RowsPage):  # type: ignore[type-arg]
    list_title = "Users"
    list_before_template = change_form_before_template = "experiments/roles.html"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "role", "email", "seen", "is_active", "is_staff", "is_superuser")
    list_filter = ("groups", "is_active", "is_staff", "is_superuser")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @column("Roles")
    def role(self, user: User) -> str:
        names = sorted(group.name for group in user.groups.all())
        return ", ".join(names) or ("all, as a superuser" if user.is_superuser else "none")

    @column("Last login", ordering="last_login")
    def seen(self, user: User) -> SafeString:
        return moment(user.last_login)


@admin.register(Group)
class OurGroupAdmin(Audited, GroupAdmin, RowsPage):
    list_title = "Groups: the roles"
    list_before_template = change_form_before_template = "experiments/roles.html"
    list_display = ("name", "members")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).prefetch_related("user_set")

    @column("Members")
    def members(self, group: Group) -> str:
        return ", ".join(sorted(user.username for user in group.user_set.all())) or "nobody"
