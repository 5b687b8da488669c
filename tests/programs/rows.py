"""Read by the product's shell: a person for each role, and tasks of which nothing moves.

What would run waits in a task that is paused; texts that others may write are hostile.
"""

import json

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.utils import timezone
from django_celery_results.models import TaskResult

from experiments import audit
from experiments.models import Experiment, TuningTask
from experiments.states import Action, FailureKind, Status, TaskStatus
from experiments.taskfile import from_dict

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
PASSWORD = make_password("for-these-tests")
DEFAULT = {
    "base_runtime": "vllm",
    "model": {"id_or_path": "/models/m"},
    "parameters": {"max-num-seqs": [1, 2, 4]},
    "optimization": {"strategy": "grid_search", "objective": "maximize_throughput"},
}
A_JOB = {
    "base_runtime": "job",
    "command": ["true"],
    "parameters": {"x": [1, 2]},
    "optimization": {"strategy": "grid_search", "objective": "maximize_speed"},
}


def person(role: str) -> None:
    user = User.objects.create(username=role, password=PASSWORD, is_staff=True)
    user.groups.set(Group.objects.filter(name=role))


def task(name: str, status: TaskStatus, file: dict[str, object] = DEFAULT) -> TuningTask:
    made = TuningTask(status=status)
    made.describe(from_dict({"task_name": name, **file}))
    if status != TaskStatus.PENDING:
        made.started_at = timezone.now()
    made.save()
    return made


def experiments(task: TuningTask, *statuses: Status, text: str = "not enough memory") -> None:
    now = timezone.now()
    for number, status in enumerate(statuses, 1):
        one = Experiment(task=task, number=number, status=status)
        one.parameters = {"max-num-seqs": number if text == "not enough memory" else text}
        if status in (Status.SUCCESS, Status.FAILED):
            one.started_at = one.finished_at = one.placed_at = now
            one.node, one.gpu_uuids, one.command = "testnode", ["sim-testnode-0"], ["vllm", text]
        if status == Status.SUCCESS:
            one.feasible, one.objective_score, one.metrics = True, 9.0 * number, {"x": 1.0}
        if status == Status.FAILED:
            one.error_kind, one.error_message = FailureKind.OUT_OF_MEMORY, text
            one.error_lines = text
        one.save()


for role in ("nobody", "viewer", "operator", "engineer", "administrator"):
    person(role)
task("waits", TaskStatus.PENDING)
task("to cancel", TaskStatus.PENDING)
task("a job waits", TaskStatus.PENDING, A_JOB)
experiments(task("paused", TaskStatus.PAUSED), Status.PENDING, Status.FAILED)
experiments(task("done", TaskStatus.COMPLETED), Status.SUCCESS, Status.SUCCESS, Status.FAILED)
hostile = task("hostile", TaskStatus.COMPLETED)
experiments(hostile, Status.SUCCESS, Status.SUCCESS, Status.FAILED, text=HOSTILE)
TuningTask.objects.filter(pk=hostile.pk).update(
    name=HOSTILE, model=HOSTILE, description=HOSTILE, message=HOSTILE
)
entry = audit.record(HOSTILE, Action.PAUSE, HOSTILE, HOSTILE)
job = TaskResult.objects.create(task_id="1", task_name=HOSTILE, status="FAILURE", result=HOSTILE)
keys = {one.name: one.pk for one in TuningTask.objects.exclude(pk=hostile.pk)}
keys |= {f"{one.task.name} #{one.number}": one.pk for one in Experiment.objects.all()}
keys |= {"hostile": hostile.pk, "hostile experiment": hostile.experiments.last().pk}
print(json.dumps({**keys, "audit": entry.pk, "job": job.pk}))
