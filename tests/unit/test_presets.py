"""Presets: what they may hold, how they fill a new task, and how they come and go as files."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse, reverse_lazy

from experiments import presets
from experiments.errors import BadInput
from experiments.models import AuditEntry, Preset, TuningTask
from tests.unit.conftest import typed

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "experiments" / "shipped_presets").glob("*.yaml"))
LIST = reverse_lazy("admin:experiments_preset_changelist")
ADD = reverse_lazy("admin:experiments_preset_add")
IMPORT = reverse_lazy("admin:experiments_preset_import")
NEW_TASK = reverse_lazy("admin:experiments_tuningtask_add")
CHAT: dict[str, Any] = {
    "slo": {"ttft": {"p90": {"threshold": 0.5}}},
    "benchmark": {"num_concurrency": [2, 8]},
}
FILE = "preset: Mine\ndescription: of mine\ntask:\n  benchmark: {num_concurrency: [3]}\n"


@pytest.fixture
def chat() -> Preset:
    return Preset.objects.create(name="Talk", description="short", parts=CHAT)


def as_role(name: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=name))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_preset_is_there_and_can_be_used(path: Path) -> None:
    document = presets.read(path.read_text(), path.name)
    assert Preset.objects.get(name=document.name).parts == document.parts


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([], ""),
        ({}, ""),
        ({"task_name": "x"}, "task_name"),
        ({"bechmark": {}}, "bechmark"),
        ({"benchmark": {"num_concurrency": [0]}}, "benchmark.num_concurrency[0]"),
        ({"parameters": {"x": []}}, "parameters.x"),
    ],
)
def test_what_a_task_file_may_not_have_is_refused_with_its_field(parts: Any, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        presets.check(parts)
    assert refused.value.field == field


def test_a_preset_fills_its_fields_and_leaves_the_others_of_a_section() -> None:
    before = {"task_name": "t", "benchmark": {"generator": "autotuner", "num_concurrency": [1]}}
    filled = presets.filled(before, CHAT)
    assert filled["task_name"] == "t" and filled["slo"] == CHAT["slo"]
    assert filled["benchmark"] == {"generator": "autotuner", "num_concurrency": [2, 8]}
    assert before["benchmark"]["num_concurrency"] == [1]


def test_a_new_task_begins_with_what_the_preset_has(admin_client: Client, chat: Preset) -> None:
    address = f"{NEW_TASK}?preset={chat.pk}"
    page = admin_client.get(address).content.decode()
    assert 'value="2, 8"' in page and "ttft p90: 0.5" in page
    form = typed(num_concurrency="2, 8", slo="ttft: {p90: {threshold: 0.5}}", name="talking")
    assert admin_client.post(address, form).status_code == 302
    file = TuningTask.objects.get(name="talking").file
    assert file.benchmark.num_concurrency == [2, 8] and file.slo is not None


def test_a_preset_that_is_gone_fills_nothing(admin_client: Client) -> None:
    for key in ("999", "x", "1" * 40):
        assert admin_client.get(f"{NEW_TASK}?preset={key}").status_code == 200


def test_a_preset_is_written_from_a_form_and_its_errors_name_the_field(
    admin_client: Client,
) -> None:
    wrong = {"name": "P", "description": "", "parts": "slo: {ttft: {p95: {threshold: x}}}"}
    page = admin_client.post(ADD, wrong).content.decode()
    assert "slo.ttft.p95.threshold" in page and not Preset.objects.filter(name="P").exists()
    assert admin_client.post(ADD, {**wrong, "parts": "slo: {ttft: {p90: {threshold: 1}}}"})
    saved = Preset.objects.get(name="P")
    assert saved.parts["slo"] and saved.created_by is not None
    assert AuditEntry.objects.filter(action="add", target="preset P").exists()


def test_secrets_are_masked_and_kept_when_the_rest_changes(admin_client: Client) -> None:
    parts = {"engine": {"env": {"HF_TOKEN": "hf_very_secret"}}}
    mine = Preset.objects.create(name="With a token", parts=parts)
    address = reverse("admin:experiments_preset_change", args=[mine.pk])
    page = admin_client.get(address)
    shown = page.context["adminform"].form.initial["parts"]
    exported = admin_client.get(reverse("admin:experiments_preset_export", args=[mine.pk]))
    assert b"hf_very_secret" not in page.content + exported.content
    changed = {"name": "Renamed", "description": "", "parts": shown}
    assert admin_client.post(address, changed).status_code == 302
    mine.refresh_from_db()
    assert (mine.name, mine.parts) == ("Renamed", parts)


def test_a_task_becomes_a_preset(admin_client: Client, make_task: Any) -> None:
    task = make_task()
    page = admin_client.get(f"{ADD}?task={task.pk}")
    form = page.context["adminform"].form
    saved = {"name": "Of a task", "description": "", "parts": form.initial["parts"]}
    assert admin_client.post(ADD, saved).status_code == 302
    parts = Preset.objects.get(name="Of a task").parts
    assert parts["parameters"] == task.specification["parameters"] and "task_name" not in parts


def test_an_export_is_imported_again_and_replaces_only_when_asked(
    admin_client: Client, chat: Preset
) -> None:
    text = admin_client.get(
        reverse("admin:experiments_preset_export", args=[chat.pk])
    ).content.decode()
    again = admin_client.post(IMPORT, {"text": text})
    assert "rename it, or replace it" in again.content.decode()
    assert "Talk" in again.content.decode()  # The text is kept
    chat.parts = {"benchmark": {"num_concurrency": [1]}}
    chat.save()
    file = SimpleUploadedFile("talk.yaml", text.encode())
    assert admin_client.post(IMPORT, {"file": file, "replace": "on"}).status_code == 302
    chat.refresh_from_db()
    assert chat.parts == CHAT


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a preset&#x27;s file has"),
        ("task: {}", "preset: give it a name"),
        ("preset: x\ntask: {slo: 1}", "task.slo"),
        ("preset: x\nparts: {}", "parts: is not known here"),
        ("preset: [", "line 1"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(admin_client: Client, text: str, says: str) -> None:
    assert says in admin_client.post(IMPORT, {"text": text}).content.decode()


def test_each_role_may_what_it_may(chat: Preset) -> None:
    export = reverse("admin:experiments_preset_export", args=[chat.pk])
    for role in ("viewer", "operator", "engineer", "administrator"):
        client, writes = as_role(role), role in ("engineer", "administrator")
        assert client.get(LIST).status_code == client.get(export).status_code == 200
        for address in (ADD, IMPORT):
            assert (client.get(address).status_code == 200) == writes
        made = client.post(IMPORT, {"text": FILE.replace("Mine", role)}).status_code == 302
        assert made == writes == Preset.objects.filter(name=role).exists()


def test_a_command_in_a_preset_is_for_administrators_to_write() -> None:
    text = "preset: Prog\ntask: {base_runtime: job, command: [rm]}"
    engineer, administrator = as_role("engineer"), as_role("administrator")
    assert "which program runs" in engineer.post(IMPORT, {"text": text}).content.decode()
    assert administrator.post(IMPORT, {"text": text}).status_code == 302
    preset = Preset.objects.get(name="Prog")
    address = reverse("admin:experiments_preset_delete", args=[preset.pk])
    assert engineer.post(address, {"post": "yes"}).status_code == 403


def test_the_shell_lists_exports_and_imports(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    call_command("presets", "import", str(path))
    call_command("presets")
    call_command("presets", "export", "Mine")
    said = capsys.readouterr().out
    assert "preset Mine is saved" in said and "of mine" in said and "num_concurrency" in said
    with pytest.raises(CommandError, match="rename it, or replace it"):
        call_command("presets", "import", str(path))
    call_command("presets", "import", str(path), "--replace")
    with pytest.raises(CommandError, match="no preset 'Nothing'"):
        call_command("presets", "export", "Nothing")


# ── filled into a form as it stands ─────────────────────────────────────────────────────────


def fill_in(client: Client, preset: Preset | None, **changes: Any) -> Any:
    key = preset.pk if preset else ""
    answer = client.post(NEW_TASK, {**typed(**changes), "next_preset": key, "_fill": ""})
    assert answer.status_code == 200 and not TuningTask.objects.exists()
    return answer


def shown(answer: Any) -> dict[str, Any]:
    form = answer.context["adminform"].form
    assert not form.is_bound  # Nothing is called wrong yet
    return {name: form[name].value() for name in form.fields}


def test_what_is_typed_stays_where_the_preset_has_nothing(
    admin_client: Client, chat: Preset
) -> None:
    answer = fill_in(admin_client, chat, search_space="x: 9..1", timeout="never")
    form = shown(answer)
    assert (form["name"], form["model"], form["timeout"]) == ("new", "/models/x", "never")
    assert form["search_space"] == "x: 9..1"  # What cannot be read yet, too
    assert (form["num_concurrency"], form["slo"]) == ("2, 8", "ttft p90: 0.5")
    filled = answer.context["filled"]
    assert filled.names == ["Concurrency", "Service-level objectives"] and not filled.replaced


def test_what_was_typed_where_the_preset_has_something_is_named(
    admin_client: Client, chat: Preset
) -> None:
    answer = fill_in(admin_client, chat, num_concurrency="7", slo="tpot p90: 0.1")
    assert shown(answer)["slo"] == "tpot p90: 0.1\nttft p90: 0.5"  # Both: nothing of it is lost
    assert answer.context["filled"].replaced == [("Concurrency", "7")]
    unread = fill_in(admin_client, chat, num_concurrency="<many>")
    assert unread.context["filled"].replaced == [("Concurrency", "<many>")]
    assert "&lt;many&gt;" in unread.content.decode()


def test_presets_are_filled_in_one_after_the_other_and_the_task_has_all_of_them(
    admin_client: Client, chat: Preset
) -> None:
    # Neither has a field of the form for all that it has
    beyond = {"parallel_config": {"tp": [1, 2]}, "benchmark": {"additional_params": {"top_k": 1}}}
    wide = Preset.objects.create(name="Wide", parts=beyond)
    first = fill_in(admin_client, chat)
    assert f'name="preset" value="{chat.pk}"' in first.content.decode()
    form = {**typed(), **{name: "" if v is None else v for name, v in shown(first).items()}}
    begun = {**form, "preset": [chat.pk], "next_preset": wide.pk, "_fill": ""}
    second = admin_client.post(NEW_TASK, begun)
    assert second.context["filled"].names == ["parallel_config", "benchmark.additional_params"]
    both = [one.pk for one in second.context["begun_with"]]
    assert both == [chat.pk, wide.pk] and shown(second)["num_concurrency"] == "2, 8"
    assert admin_client.post(NEW_TASK, {**form, "preset": both}).status_code == 302
    file = TuningTask.objects.get().file.to_dict()
    assert file["parallel_config"] == beyond["parallel_config"] and file["slo"] == CHAT["slo"]
    assert file["benchmark"] == {"num_concurrency": [2, 8], "additional_params": {"top_k": 1}}


def test_a_secret_of_a_preset_is_masked_in_the_form_and_in_the_task_that_begins_with_it(
    admin_client: Client,
) -> None:
    env = {"HF_TOKEN": "hf_very_secret", "N": "1"}
    mine = Preset.objects.create(name="With a token", parts={"engine": {"env": env}})
    answer = fill_in(admin_client, mine, environment="HF_TOKEN=hf_typed_secret")
    assert b"hf_very_secret" not in answer.content and b"hf_typed_secret" not in answer.content
    [(label, typed_before)] = answer.context["filled"].replaced
    assert label == "Environment" and typed_before.startswith("HF_TOKEN=")
    form = {name: "" if value is None else value for name, value in shown(answer).items()}
    assert admin_client.post(NEW_TASK, {**typed(), **form, "preset": mine.pk}).status_code == 302
    assert TuningTask.objects.get().specification["engine"]["env"] == env


def test_without_a_preset_everything_stays(admin_client: Client) -> None:
    form = shown(fill_in(admin_client, None, num_concurrency="x"))
    assert (form["name"], form["num_concurrency"]) == ("new", "x")


# ── made of a form as it stands ─────────────────────────────────────────────────────────────


def test_a_form_becomes_a_preset_without_being_saved(admin_client: Client) -> None:
    form = typed(name="", model="", num_concurrency="3", environment="HF_TOKEN=hf_very_secret")
    answer = admin_client.post(ADD, {**form, "description": "of mine", "_of_task": ""})
    assert answer.status_code == 200 and b"hf_very_secret" not in answer.content
    initial = answer.context["adminform"].form.initial
    parts = initial["parts"]
    assert "num_concurrency:" in parts and "max-num-seqs" in parts and "model" not in parts
    assert initial["description"] == "of mine" and "description" not in parts
    assert not TuningTask.objects.exists() and not Preset.objects.filter(name="").exists()


def test_a_task_that_is_edited_becomes_a_preset_as_it_is_typed(
    admin_client: Client, make_task: Any
) -> None:
    task = make_task()
    form = typed(name=task.name, engine="vllm", search_space="max-num-seqs: 77")
    answer = admin_client.post(ADD, {**form, "_of_task": task.pk})
    assert "77" in answer.context["adminform"].form.initial["parts"]


def test_a_form_that_cannot_be_a_preset_says_which_field_and_what(admin_client: Client) -> None:
    answer = admin_client.post(ADD, {**typed(search_space="x: 9..1"), "_of_task": ""})
    assert answer.status_code == 400
    assert answer.context["problems"] == [("Search space", "x.low: 9 is not below high 1")]
    answer = admin_client.post(ADD, {**typed(search_space="x"), "_of_task": ""})
    assert answer.context["problems"][0][1].startswith("line 1: write a name")
    answer = admin_client.post(ADD, {**typed(max_minutes="-1"), "_of_task": ""})
    [(label, problem)] = answer.context["problems"]
    assert label == "Minutes per level" and "0" in problem


def test_who_may_not_write_presets_makes_none_of_a_form() -> None:
    client = as_role("operator")
    assert client.post(ADD, {**typed(), "_of_task": ""}).status_code == 403
