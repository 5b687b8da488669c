"""The form of a tuning task. Its truth is the task file; the fields are a view of it."""

from copy import deepcopy
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from experiments import masking, planning, roles, taskfile, textareas
from experiments.benchmarks import BENCHMARKS
from experiments.engines import ENGINES
from experiments.errors import BadInput
from experiments.form_fields import DataField, area, choice, line, numbers, whole
from experiments.form_places import DEFAULTS, PLACES, find, put
from experiments.models import TuningTask
from experiments.objectives import write_objectives
from experiments.sections import HIGHEST_PRIORITY
from experiments.slo_lines import read_limits, write_limits
from experiments.strategies import STRATEGIES

NEW_TASK = {"base_runtime": "vllm", "optimization": {"objective": "maximize_throughput"}}
ENGINE_NAMES = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llamacpp": "llama.cpp",
    "custom": "custom: any server with a command line",
    "job": "job: any program that prints its metrics",
}

COMMAND_REFUSED = (
    "which program runs is for the role administrator to say; ask one, or leave it out"
)

EXAMPLE_SPACE = """max-num-seqs: 4, 8, 16
gpu-memory-utilization: 0.80..0.95 step 0.05
max-num-batched-tokens: 256..8192 log
enable-prefix-caching: true, false"""
EXAMPLE_CONSTRAINT = "max-num-batched-tokens >= max-num-seqs"


class TaskForm(forms.ModelForm):  # type: ignore[type-arg]
    """Adds and edits a task. Only what a person changes is written into its task file."""

    may_write_commands = True  # Of whom it is for: the admin says so
    begins_with: dict[str, Any] = NEW_TASK  # What a new one has filled in

    name = line(max_length=200)
    description = DataField(max_length=10_000, widget=area(2, code=False))
    engine = choice({name: ENGINE_NAMES.get(name, name) for name in ENGINES})
    model = line(
        max_length=500,
        required=False,
        help_text="A path, or a hub id. Custom commands and jobs may do without.",
    )
    executable = line(
        required=False,
        help_text="The engine's program, such as /opt/vllm/bin/vllm. Empty: the site's setting, "
        "else the PATH.",
    )
    fixed_arguments = DataField(
        textareas.read_arguments,
        textareas.write_arguments,
        help_text="Flags of every experiment, one a line: max-model-len: 2048",
    )
    environment = DataField(
        textareas.read_variables,
        textareas.write_variables,
        help_text="Variables of every experiment, one a line: NAME=value",
    )
    command = DataField(
        textareas.read_command,
        textareas.write_command,
        help_text="One argument a line. {model}, {port}, {gpus} and {parameter} are replaced.",
    )
    search_space = DataField(
        textareas.read_space,
        textareas.write_space,
        widget=area(6, EXAMPLE_SPACE),
        help_text="Values: 4, 8, 16 · 0.80..0.95 step 0.05 · 256..8192 log · true, false · "
        "low, high ordered · 1..8 when other=a|b and third=true. As text, one parameter a line: "
        "max-num-seqs: 4, 8, 16",
    )
    constraints = DataField(
        textareas.read_list,
        textareas.write_list,
        widget=area(2, EXAMPLE_CONSTRAINT),
        help_text="What must hold between parameters, one a line: + - * / // %, < <= == !=, and, "
        "or, not, in [a, b]; text in quotes. Without one of its parameters a line does not apply.",
    )
    strategy = choice({name: name.replace("_", " ") for name in STRATEGIES})
    objective = DataField(
        write=write_objectives,
        widget=UnfoldAdminTextInputWidget(),
        help_text="maximize_throughput, minimize_latency, minimize_ttft, minimize_tpot, or "
        "maximize_ or minimize_ with a metric. Several, for a Pareto front: "
        "maximize_throughput, minimize_ttft_p90 · with weights: maximize_throughput: 2, "
        "minimize_ttft: 1",
    )
    max_experiments = whole(1, required=False, help_text="At most, the engine's defaults included")
    timeout = forms.FloatField(
        label="Timeout per experiment",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Seconds, engine start included",
    )
    # Its upper limit is the pool's: `planning.check` says it, with both of its reasons.
    priority = whole(
        -HIGHEST_PRIORITY,
        HIGHEST_PRIORITY,
        required=False,
        help_text="While tasks wait for GPUs, the experiments of the higher one go first",
    )
    max_parallel_experiments = whole(
        1,
        label="Max parallel experiments",
        help_text=TuningTask._meta.get_field("max_parallel_experiments").help_text,
    )
    seed = forms.IntegerField(required=False, widget=UnfoldAdminIntegerFieldWidget())
    pruning = forms.TypedChoiceField(
        choices=[("", "unless the strategy is grid_search"), (True, "yes"), (False, "no")],
        coerce=lambda word: word == "True",
        empty_value="",
        required=False,
        widget=UnfoldAdminSelectWidget(),
        label="Prune",
        help_text="End an experiment as soon as it has clearly lost to the best so far",
    )
    skip_known_failures = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text="Do not try what has failed before, here or in an earlier task, or is like it",
    )
    reuse = forms.BooleanField(
        label="Reuse measurements",
        required=False,
        widget=UnfoldBooleanWidget(),
        help_text="Of earlier tasks: same engine version, model, hardware, flags and requests",
    )
    repeats = whole(
        0,
        required=False,
        help_text="Experiments that measure the baseline and the finalists again; empty: a fifth",
    )
    gpus = whole(
        1,
        label="GPUs per experiment",
        required=False,
        help_text="Empty: what the configuration asks for (tensor, pipeline, data parallel size)",
    )
    min_memory_mb = whole(
        0,
        label="Free memory per GPU",
        required=False,
        help_text="At least, in MiB; 0: no minimum. Empty: estimated from the model's files",
    )
    min_host_memory_mb = whole(
        0,
        label="Host memory per experiment",
        required=False,
        help_text="Reserved for it, in MiB; 0: none",
    )
    price_per_gpu_hour = forms.FloatField(
        label="Price of a GPU hour",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="In any currency; for the metric cost_per_million_tokens",
    )
    traffic_scenarios = DataField(
        textareas.read_list,
        textareas.write_list,
        help_text="One a line: D(in,out) · N(mean,dev)/(mean,dev) · U(min,max)/(min,max), "
        "in tokens",
        widget=area(2),
    )
    num_concurrency = numbers(
        "1, 4", label="Concurrency", help_text="Requests at once, one load level each: 1, 4, 8"
    )
    request_rate = numbers(
        label="Request rate", help_text="Or requests per second (open loop): 2, 4"
    )
    rate_search = DataField(
        textareas.read_yaml,
        textareas.write_as_yaml,
        label="Search for the highest request rate",
        help_text="Or the rates between which to search, in YAML: {low: 1, high: 64}",
        widget=area(2),
    )
    max_requests = whole(1, label="Requests per level", required=False)
    max_minutes = forms.FloatField(
        label="Minutes per level", required=False, widget=UnfoldAdminTextInputWidget()
    )
    generator = choice({name: name for name in BENCHMARKS}, label="Load generator")
    slo = DataField(
        read_limits,
        write_limits,
        label="Service-level objectives",
        help_text="In seconds: 1.0 hard · 0.05 weight 2 · 5 hard beyond 20 %. As text, one limit a "
        "line: ttft p90: 1.0 hard, or YAML, as in a task file",
    )

    class Meta:
        model = TuningTask
        fields = [
            *("name", "description", "engine", "model", "objective"),
            "max_parallel_experiments",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before: dict[str, Any] = deepcopy(self.instance.specification or self.begins_with)
        self.written = self.before  # The task file that is typed, as far as it can be read
        self.unread: set[str] = set()  # Fields whose own text cannot be read
        self.masked = masking.data(self.before)
        self.pool = planning.pool_now()
        if not self.instance.pk and "name" in self.fields:
            self.fields["name"].widget.attrs["autofocus"] = True
        if "max_parallel_experiments" in self.fields:  # Not where it is only shown
            field = self.fields["max_parallel_experiments"]
            field.widget.attrs["max"] = planning.parallel_limit(self.pool)
            if self.pool.gpus:
                field.help_text += (
                    f". The pool has {self.pool.gpus} GPUs, {self.pool.free} free now"
                )
        self.initial = {
            **{name: self.shown(name) for name in PLACES if name in self.fields},
            **(kwargs.get("initial") or {}),
        }

    def shown(self, name: str) -> Any:
        """A field's value as the form shows it: the task file's without secrets, or the default."""
        value = find(self.masked, PLACES[name], DEFAULTS.get(PLACES[name]))
        field = self.fields[name]
        if isinstance(field, DataField):
            return "" if value is None else field.write(value).rstrip()
        return value

    def clean(self) -> dict[str, Any]:
        """Make the task file and check it; each problem goes to the field that caused it."""
        super().clean()
        self.unread = set(self.errors)
        self.written = data = deepcopy(self.before)
        for name in self.changed_data:
            if name in self.cleaned_data:
                put(data, PLACES[name], self.unmasked(name))
        problems = taskfile.problems(data)
        if not self.may_write_commands and (field := roles.command_in(data)):
            problems.insert(0, BadInput(field, COMMAND_REFUSED))
        if not problems:
            file = taskfile.from_dict(data)
            try:
                planning.check(file, self.pool)
                self.instance.describe(file)
            except BadInput as problem:
                problems = [problem]
        for found in problems:
            self.say(found)
        return self.cleaned_data

    def unmasked(self, name: str) -> Any:
        """A field's value, in which what the person left masked is what it was."""
        key = PLACES[name].rpartition(".")[2]
        before = find(self.before, PLACES[name], None)
        return masking.restored(key, self.cleaned_data[name], before)

    def say(self, problem: BadInput) -> None:
        """Show a problem at the form field in which it can be solved."""
        name, message = said_at(problem)
        if name is None or name not in self.errors:
            self.add_error(name, message)


def said_at(problem: BadInput) -> tuple[str | None, str]:
    """The form field in which it can be solved, if there is one, and what to say there."""
    for name, place in PLACES.items():
        rest = problem.field.removeprefix(place)
        if problem.field.startswith(place) and rest[:1] in ("", ".", "["):
            rest = rest.removeprefix(".")
            return name, f"{rest}: {problem.message}" if rest else problem.message
    return None, str(problem)
