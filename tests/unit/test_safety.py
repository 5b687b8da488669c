"""What holds at every address of the site, also at those that somebody adds later.

Strangers are sent away, a GET changes nothing, a POST needs its page's token, and no text that
others have written becomes markup, in pages, frames of the socket, and exports.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django_celery_results.models import TaskResult

from experiments import audit, exports, picture, roles
from experiments.models import Experiment, Move, TuningTask, Veto
from experiments.pool import gpu_pool
from experiments.preset import Preset
from experiments.states import Action, FailureKind, Status, TaskStatus, VetoState
from tests.unit.conftest import SCRIPT, succeeded, url

MakeTask = Callable[..., TuningTask]
MakeExperiment = Callable[..., Experiment]
pytestmark = pytest.mark.usefixtures("site", "pool")

PICTURE = '"><img src=x onerror=alert(1)>'
HOSTILE = f"{PICTURE}{SCRIPT}"
FORMULA = "=cmd|' /C calc'!A0"
VERBS = ("start", "cancel", "retry", "clone", "quarantine", "drain", "release", "undrain")
OPEN = {"admin:login", "admin:logout"}  # To strangers


# ── all addresses ───────────────────────────────────────────────────────────────────────────


def patterns(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every pattern, with the namespaces before its name."""
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            space = f"{before}{one.namespace}:" if one.namespace else before
            yield from patterns(one, space)
        else:
            yield before, one


def addresses(filled: dict[str, Any]) -> dict[str, str]:
    """An address of every page, by its name and its verb."""
    found = {}
    for before, pattern in patterns(get_resolver()):
        if not pattern.name:
            continue
        name = f"{before}{pattern.name}"
        wanted = set(pattern.pattern.converters) or set(pattern.pattern.regex.groupindex)
        for verb in VERBS if "verb" in wanted else ("",):
            rows = filled["rows"]
            row = next((key for model, key in rows.items() if model in name), rows["auth_user"])
            known = {**filled, "object_id": row, "verb": verb}
            arguments = {key: known[key] for key in wanted}
            found[f"{name} {verb}"] = reverse(name, kwargs=arguments)
    return found


@pytest.fixture
def everything(make_task: MakeTask, make_experiment: MakeExperiment) -> dict[str, str]:
    """Rows of every kind, full of hostile texts, and the addresses of their pages."""
    task = make_task(TaskStatus.COMPLETED)
    choice = {HOSTILE: HOSTILE, FORMULA: FORMULA}
    texts: dict[str, Any] = {"node": HOSTILE, "gpu_uuids": [HOSTILE], "command": [HOSTILE]}
    level = {"label": HOSTILE, "feasible": True, "violations": [], "seconds": 1.5}
    best = succeeded(objective_score=2.0, metrics={HOSTILE: 1.0, FORMULA: 2.0}, **texts)
    levels = [{**level, "metrics": {"output_throughput": 1.0}}]
    make_experiment(task, is_baseline=True, parameters={}, **succeeded(objective_score=1.0))
    shown = make_experiment(task, parameters=choice, levels=levels, **best)
    make_experiment(task, parameters=choice, pruned=True, pruned_why=HOSTILE, **best)
    failed = make_experiment(task, status=Status.FAILED, parameters=choice, **texts)
    fault = {"error_message": HOSTILE, "error_lines": HOSTILE, "error_where": HOSTILE}
    Experiment.objects.filter(pk=failed.pk).update(error_kind=FailureKind.TIMEOUT, **fault)
    make_experiment(task, status=Status.FAILED, error_message=FORMULA, error_kind="timeout")
    Move.objects.create(experiment=shown, old="PENDING", new="PLACED", attempt=1, reason=HOSTILE)
    Veto.objects.create(
        task=task,
        parameters=choice,
        state=VetoState.STANDING,
        kind=FailureKind.OUT_OF_MEMORY,
        chance=0.9,
        reason=HOSTILE,
    )
    task.specification["model"]["id_or_path"] = HOSTILE
    hostile = dict.fromkeys(("name", "model", "message", "description"), HOSTILE)
    TuningTask.objects.update(specification=task.specification, **hostile)
    entry = audit.record(HOSTILE, Action.PAUSE, HOSTILE, HOSTILE)
    told = {"experiment": HOSTILE, "status": HOSTILE, "error": HOSTILE}
    result = TaskResult.objects.create(
        task_id="1", task_name=HOSTILE, worker=HOSTILE, result=json.dumps(told), traceback=HOSTILE
    )
    folder = shown.folder
    folder.mkdir(parents=True)
    (folder / "engine.log").write_text(HOSTILE)
    Experiment.objects.filter(pk=shown.pk).update(node="testnode")
    gpu_pool().quarantine(gpu_pool().gpus()[0].uuid, HOSTILE, None)
    gpu_pool().acquire(HOSTILE)
    user = User.objects.create(username=HOSTILE, email=HOSTILE, first_name=HOSTILE)
    group = Group.objects.create(name=HOSTILE)
    user.groups.add(group)
    rows = {
        "tuningtask": task.pk,
        "experiment_": shown.pk,
        "auditentry": entry.pk,
        "taskresult": result.pk,
        "auth_user": user.pk,
        "auth_group": group.pk,
    }
    parts = {"engine": {"executable": HOSTILE}}
    preset = Preset.objects.create(name=HOSTILE, description=HOSTILE, parts=parts)
    rows["preset"] = preset.pk
    filled = {
        "preset_id": preset.pk,
        "task_id": task.pk,
        "experiment_id": shown.pk,
        "id": user.pk,
        "rows": rows,
    }
    filled |= {"app_label": "experiments", "url": "nowhere/"}
    of = ContentType.objects.get_for_model(TuningTask).pk
    return addresses({**filled, "content_type_id": of})


def content(answer: Any) -> str:
    is_stream = isinstance(answer, StreamingHttpResponse)
    whole = b"".join(answer) if is_stream else answer.content  # type: ignore[arg-type]
    return bytes(whole).decode()


def state_of_the_site() -> str:
    """All rows, and who has which GPU."""
    kinds = [one for one in apps.get_models() if one._meta.app_label != "sessions"]
    rows = serializers.serialize("json", [row for one in kinds for row in one.objects.all()])
    pool = gpu_pool().snapshot()
    return rows + repr([(gpu.uuid, gpu.state, gpu.why) for gpu in pool.gpus])


# ── who, and how ────────────────────────────────────────────────────────────────────────────


def test_a_stranger_is_sent_away_at_every_address(
    client: Client, everything: dict[str, str]
) -> None:
    assert len(everything) > 60
    before = state_of_the_site()
    for name, address in everything.items():
        for answer in (client.get(address), client.post(address)):
            where = answer.headers.get("Location", "")
            is_sent = answer.status_code == 302 and where.startswith(reverse("admin:login"))
            assert is_sent or name.strip() in OPEN, (name, answer.status_code)
    assert state_of_the_site() == before


def test_a_link_changes_nothing_at_every_address(
    admin_client: Client, everything: dict[str, str]
) -> None:
    before = state_of_the_site()
    for name, address in everything.items():
        status = admin_client.get(address).status_code
        assert status in (200, 204, 301, 302, 403, 404, 405), (name, status)
    assert state_of_the_site() == before


def test_a_post_without_the_token_of_its_page_is_refused_at_every_address(
    admin_user: User, everything: dict[str, str]
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    before = state_of_the_site()
    for name, address in everything.items():
        assert client.post(address, {"post": "yes"}).status_code == 403, name
    assert state_of_the_site() == before


# ── texts of others ─────────────────────────────────────────────────────────────────────────


def is_markup(text: str) -> bool:
    return SCRIPT in text or "<img src=x" in text


def test_no_text_becomes_markup_on_any_page(
    admin_client: Client, everything: dict[str, str]
) -> None:
    seen = 0
    for name, address in everything.items():
        answer = admin_client.get(address)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            text = content(answer)
            assert not is_markup(text), name
            seen += "onerror" in text
    assert seen > 15


def test_no_text_becomes_markup_in_a_frame_of_the_socket(everything: dict[str, str]) -> None:
    for rights in (roles.Rights(), roles.Rights(True, True, True)):
        drawing = picture.draw(TuningTask.objects.get().pk, rights)
        text = "".join(drawing.fragments.values())
        assert "onerror" in text and not is_markup(text)


def test_no_text_becomes_markup_or_a_table_in_a_markdown_report(
    everything: dict[str, str],
) -> None:
    text = exports.as_markdown(TuningTask.objects.get())
    outside = re.sub(r"^(`{3,})\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "onerror" in outside and not is_markup(outside)
    rows = [line for line in outside.splitlines() if line.startswith("| ") and "onerror" in line]
    assert rows and all(line.endswith(" |") for line in rows)


def test_a_spreadsheet_runs_nothing_from_any_csv(
    admin_client: Client, everything: dict[str, str]
) -> None:
    keys = list(Experiment.objects.values_list("pk", flat=True))
    chosen = {"action": "csv_selected", "_selected_action": keys}
    listed = content(admin_client.post(url("experiment_changelist"), chosen))
    for text in (listed, exports.as_csv(TuningTask.objects.get())):
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert f"'{FORMULA}" in cells
        assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
