"""Secrets of a task are in none of the ways out: pages, exports, the shell, logs, columns."""

import io
import json
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client

from experiments import exports, masking, picture, roles, steering, taskfile
from experiments.documents import write_yaml
from experiments.errors import BadInput
from experiments.form_places import PLACES
from experiments.forms import TaskForm
from experiments.masking import MASK
from experiments.models import AuditEntry, Experiment, Move, TuningTask, Veto
from experiments.states import FailureKind, Status, TaskStatus
from experiments.taskfile import from_dict
from gpupool import Lease
from tests.unit.conftest import SPECIFICATION, url

pytestmark = pytest.mark.usefixtures("site")
# Each ends in what no random token of a page can have in it
SECRETS = {
    "HF_TOKEN": "hf_variableX9-told",
    "api-key": "sk-flag & <b>X9-told",
    "URL": "in-addressX9-told",
    "WANDB_API_KEY": "wandb-searchedX9-told",
    "inherited": "of-the-workerX9-told",
}
ENGINE = {
    "env": {"HF_TOKEN": SECRETS["HF_TOKEN"], "STORE_URL": f"s3://me:{SECRETS['URL']}@host/0"},
    "arguments": {"api-key": SECRETS["api-key"], "max-model-len": 2048},
}
FILE: dict[str, Any] = {
    **SPECIFICATION,
    "engine": ENGINE,
    "parameters": {
        "max-num-seqs": [1, 2, 4],
        "env.WANDB_API_KEY": [SECRETS["WANDB_API_KEY"], "wandb-otherX9-told"],
    },
}
SPOKEN = "\n".join(f"the engine says {secret} of {name}" for name, secret in SECRETS.items())
DONE = {"status": Status.SUCCESS, "feasible": True, "objective_score": 2.0}


@pytest.fixture
def task(db: None, settings: Any, lease: Lease, client: Client) -> TuningTask:
    """One that has a winner, a failure that its engine told of, and a veto."""
    settings.ENVIRONMENT = {"MY_SECRET": SECRETS["inherited"]}
    task = TuningTask(status=TaskStatus.COMPLETED)
    task.describe(from_dict(FILE))
    task.save()
    chosen = {"max-num-seqs": 1, "env.WANDB_API_KEY": SECRETS["WANDB_API_KEY"]}
    flags = {**ENGINE["arguments"], **chosen}
    task.experiments.create(number=1, parameters={}, is_baseline=True, **DONE)
    for number in (2, 3, 4):
        best = {**DONE, "objective_score": 2.0 + number}
        told = {"environment": {"flags": flags}, "effective": {"api_key": SECRETS["api-key"]}}
        task.experiments.create(number=number, parameters=chosen, **best, **told)
    failing = task.experiments.create(number=5, parameters=chosen)
    failing.place(lease)
    failing.start(["vllm", "serve", "--api-key", SECRETS["api-key"]])
    failing.folder.mkdir(parents=True)
    (failing.folder / "engine.log").write_text(SPOKEN)
    failing.fail(FailureKind.ENGINE_CRASHED, SPOKEN, error_lines=SPOKEN)
    task.vetoes.create(
        key="k", parameters=chosen, kind=FailureKind.ENGINE_CRASHED, chance=1.0, reason="known"
    )
    return task


def shell(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def said(answer: Any) -> str:
    if isinstance(answer, StreamingHttpResponse):
        return b"".join(answer.streaming_content).decode()  # type: ignore[arg-type]
    return bytes(answer.content).decode()


def page(name: str) -> Callable[[TuningTask, Client], str]:
    def get(task: TuningTask, client: Client) -> str:
        failed = task.experiments.get(number=5)
        key = task.pk if name.startswith("tuningtask") else failed.pk
        return said(client.get(url(name, *([] if name.endswith("list") else [key]))))

    return get


def compared(task: TuningTask, client: Client) -> str:
    ids = ",".join(str(one.pk) for one in task.experiments.all())
    return said(client.get(url("experiment_compare"), {"ids": ids}))


def chosen_as_csv(task: TuningTask, client: Client) -> str:
    ids = [one.pk for one in task.experiments.all()]
    action = {"action": "csv_selected", "_selected_action": ids}
    return said(client.post(url("experiment_changelist"), action))


def archive(task: TuningTask, client: Client) -> str:
    packed = client.get(url("tuningtask_export", task.pk)).content
    with zipfile.ZipFile(io.BytesIO(packed)) as files:
        return "".join(files.read(name).decode() for name in files.namelist())


def dry_run(task: TuningTask, client: Client, *options: str) -> str:
    file = Path(task.experiments.get(number=5).folder) / "file.yaml"
    file.write_text(write_yaml({**FILE, "task_name": "another"}))
    return shell("tune", str(file), "--dry-run", *options)


def editor(task: TuningTask, client: Client) -> str:
    TuningTask.objects.update(status=TaskStatus.PENDING)
    return page("tuningtask_change")(task, client)


def summary(task: TuningTask, client: Client) -> str:
    form = TaskForm(instance=task)
    texts = {name: form[name].value() for name in PLACES}
    typed = {name: "" if text is None else str(text) for name, text in texts.items()}
    return said(client.post(url("tuningtask_summary", task.pk), typed))


def audit(task: TuningTask, client: Client) -> str:
    steering.act("clone", "me", task, {"name": "twin"})
    details = list(AuditEntry.objects.values_list("target", "detail"))
    return f"{details} {said(client.get(url('auditentry_changelist')))}"


def columns(task: TuningTask, client: Client) -> str:
    failed = Experiment.objects.get(number=5)
    reasons = list(Move.objects.values_list("reason", flat=True))
    return f"{failed.error_message}\n{failed.error_lines}\n{reasons}"


WAYS_OUT: dict[str, Callable[[TuningTask, Client], str]] = {
    **{
        name: page(name)
        for name in (
            *("tuningtask_live", "tuningtask_change", "tuningtask_changelist"),
            *("experiment_change", "experiment_log", "experiment_download"),
            "experiment_changelist",
        )
    },
    "socket": lambda task, _: json.dumps(picture.draw(task.pk, roles.Rights()).fragments),
    "compare": compared,
    "CSV of the list": chosen_as_csv,
    "archive": archive,
    "editor": editor,
    "summary of the editor": summary,
    "audit": audit,
    "columns": columns,
    "show": lambda task, _: shell("show", str(task.pk)),
    "show --json": lambda task, _: shell("show", str(task.pk), "--json"),
    "tune --dry-run": dry_run,
    "tune --dry-run --json": lambda task, client: dry_run(task, client, "--json"),
    "export --samples": lambda task, _: shell("export", str(task.pk), "--samples"),
    **{
        f"export {name}": lambda task, _, name=name: shell("export", str(task.pk), "--format", name)
        for name in exports.EXPORTS
    },
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_no_secret_is_in(way: str, task: TuningTask, admin_client: Client) -> None:
    text = WAYS_OUT[way](task, admin_client)
    assert "X9-told" not in text, text[max(0, text.index("X9-told") - 200) :][:300]
    assert text.strip() and "Traceback" not in text


def test_an_upgrade_leaves_secrets_out_of_what_was_written_before(task: TuningTask) -> None:
    Experiment.objects.filter(number=5).update(error_message=SPOKEN, error_lines=SPOKEN)
    Move.objects.filter(new=Status.FAILED).update(reason=SPOKEN)
    Veto.objects.update(reason=SPOKEN)
    upgrade = import_module("experiments.migrations.0011_masked_errors")
    upgrade.mask(apps, connection.schema_editor())
    written = [
        *Experiment.objects.filter(number=5).values_list("error_message", "error_lines").get(),
        *Move.objects.values_list("reason", flat=True),
        *Veto.objects.values_list("reason", flat=True),
    ]
    assert written.count(masking.hide(SPOKEN, masking.known_of(task.specification))) == 4
    assert "X9-told" not in str(written) and "the engine says" in str(written)


def test_the_launch_command_takes_secrets_from_the_shell(task: TuningTask) -> None:
    command = exports.as_command(task)
    assert command.startswith('HF_TOKEN="$HF_TOKEN" STORE_URL="$STORE_URL"')
    assert 'WANDB_API_KEY="$WANDB_API_KEY"' in command
    assert '--api-key "$API_KEY" --max-model-len 2048' in command


def test_an_exported_file_is_refused_until_its_secrets_are_written(task: TuningTask) -> None:
    exported = json.loads(exports.as_json(task))["specification"]
    assert exported["engine"]["env"] == {
        "HF_TOKEN": MASK,
        "STORE_URL": f"s3://me:{MASK}@host/0",
    }
    with pytest.raises(BadInput, match=r"^engine\.arguments\.api-key: is a mask.*write the value"):
        taskfile.load(write_yaml(exported | {"engine": {"arguments": {"api-key": MASK}}}))
    with pytest.raises(BadInput, match=r"^parameters\.env\.WANDB_API_KEY\[0\]: is a mask"):
        taskfile.load(write_yaml(exported | {"engine": {}}))


def test_what_stays_masked_in_the_editor_stays_as_it_is(task: TuningTask) -> None:
    form = TaskForm(instance=task)
    shown = {name: form[name].value() for name in PLACES}
    typed = {name: "" if text is None else str(text) for name, text in shown.items()}
    assert typed["environment"].startswith(f"HF_TOKEN={MASK}")
    typed["environment"] += "\nNEW_KEY=another"
    typed["fixed_arguments"] = f"api-key: {MASK}"
    changed = TaskForm(typed, instance=task)
    assert changed.is_valid(), changed.errors
    assert task.specification["engine"] == {
        "env": {**ENGINE["env"], "NEW_KEY": "another"},
        "arguments": {"api-key": SECRETS["api-key"]},
    }
    assert task.specification["parameters"] == FILE["parameters"]
    typed["environment"] = f"OTHER_TOKEN={MASK}"
    refused = TaskForm(typed, instance=task)
    assert "OTHER_TOKEN: is a mask" in str(refused.errors["environment"])


def test_a_secret_is_hidden_in_a_log_wherever_its_parts_end() -> None:
    known = {"hunter22": "PASSWORD"}
    log = ("a line\n" * 3 + "it is hunter22\n").encode() * 3 + b"hunter22 \xff"
    for size in (1, 7, 64):
        parts = (log[at : at + size] for at in range(0, len(log), size))
        hidden = b"".join(masking.stream(parts, known))
        assert b"hunter22" not in hidden and hidden.count(MASK.encode()) == 4
        assert hidden.endswith(b" \xff")
