"""A task's results as files, for people and for other programs."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

from django.utils.text import slugify

from experiments import explaining, findings, markdown, masking, reports, samples, vetoes
from experiments.documents import write_yaml
from experiments.findings import Found
from experiments.models import Experiment, TuningTask


def as_json(task: TuningTask) -> str:
    return json.dumps(reports.document(task), indent=2)


def as_json_with_samples(task: TuningTask) -> str:
    """The same, and what each request of each load level took."""
    found = reports.document(task)
    of = {one.number: one for one in task.experiments.prefetch_related("samples")}
    for one in found["experiments"]:
        one["samples"] = list(samples.documents(of[one["number"]]))
    return json.dumps(found, indent=2)


def as_yaml(task: TuningTask) -> str:
    return write_yaml(reports.document(task))


def as_command(task: TuningTask) -> str:
    """The winner's launch line. Empty when nothing won."""
    best = findings.best_of(task, list(task.experiments.all()))
    return "" if best is None else reports.launch_line(task, best)


def as_csv(task: TuningTask) -> str:
    """One row an experiment: its parameters and its metrics as columns."""
    experiments = list(task.experiments.all())
    parameters = list(dict.fromkeys(name for e in experiments for name in e.parameters))
    metrics = list(dict.fromkeys(name for e in experiments for name in e.metrics))
    fixed = ("number", "repeat_of", "attempt", "status", "feasible", "pruned", "objective_score")
    several = [
        f"objective {one['metric']}" for one in reports.objectives(task) if task.objectives.several
    ]
    front = {one.pk for one in findings.front_of(task, experiments)}
    has_front = ["on_front"] if task.objectives.has_front else []
    text = io.StringIO()
    writer = csv.writer(text)
    titles = [*fixed, *has_front, *several, "error", *parameters, *metrics]
    writer.writerow([spreadsheet_safe(title) for title in titles])
    for e in experiments:
        values = chosen(e)
        writer.writerow(
            [
                *(getattr(e, name) for name in fixed),
                *(e.pk in front for _ in has_front),
                *(e.objective_values or [""] * len(several) if several else ()),
                spreadsheet_safe(e.error_message),
                *(spreadsheet_safe(values.get(name, "")) for name in parameters),
                *(e.metrics.get(name, "") for name in metrics),
            ]
        )
    return text.getvalue()


def csv_of(experiments: Sequence[Experiment]) -> str:
    """One row an experiment, of any tasks, with the task's name."""
    parameters = list(dict.fromkeys(name for e in experiments for name in e.parameters))
    metrics = list(dict.fromkeys(name for e in experiments for name in e.metrics))
    fixed = ("attempt", "status", "feasible", "pruned", "objective_score", "node")
    text = io.StringIO()
    writer = csv.writer(text)
    titles = ["task", "number", *fixed, "error_kind", "error", *parameters, *metrics]
    writer.writerow([spreadsheet_safe(title) for title in titles])
    for e in experiments:
        values = chosen(e)
        row = [e.task.name, e.number, *(getattr(e, name) for name in fixed)]
        row += [e.error_kind, e.error_message, *(values.get(name, "") for name in parameters)]
        row += [e.metrics.get(name, "") for name in metrics]
        writer.writerow([spreadsheet_safe(cell) for cell in row])
    return text.getvalue()


def chosen(experiment: Experiment) -> dict[str, Any]:
    """Its parameters, as people see them."""
    return masking.data(experiment.parameters)


def spreadsheet_safe(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula, made plain text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def as_markdown(task: TuningTask) -> str:
    """A report for people: the winner, its gain, and every experiment."""
    experiments = list(task.experiments.all())
    found = findings.found_by(task, experiments)
    about = markdown.plain(f"{task.status} · {task.engine} · {task.objective}")
    lines = [f"# {markdown.plain(task.name)}", "", about, ""]
    lines += [*_winner(task, found), *_front(task, found)]
    lines += [*explaining.markdown(task, experiments, found), "## Every experiment", ""]
    lines += ["| # | status | score | feasible | parameters | note |", "|--:|---|--:|---|---|---|"]
    for e in experiments:
        score = "" if e.objective_score is None else f"{e.objective_score:.4g}"
        pairs = ", ".join(f"{name}={value}" for name, value in chosen(e).items())
        score = f"≈ {score}" if e.pruned else score
        again = f"#{e.repeat_of} again" if e.repeat_of else ""
        note = f"pruned {e.pruned_why}" if e.pruned else e.error_message or again
        lines.append(markdown.row([str(e.number), e.status, score, str(e.feasible), pairs, note]))
    lines += vetoes.markdown(task)
    return "\n".join(lines) + "\n"


def _winner(task: TuningTask, found: Found) -> list[str]:
    best, sure = found.best, found.sure
    if best is None or sure is None:
        return ["No configuration met the objectives.", ""]
    line = f"**Winner: #{best.number}**, score {sure.score:.4g}: {sure.sentence()}"
    return [line, "", *markdown.code(reports.launch_line(task, best)), ""]


def _front(task: TuningTask, found: Found) -> list[str]:
    """The Pareto front as a table; nothing for a task that has none."""
    if not found.front:
        return []
    metrics = [one["metric"] for one in reports.objectives(task)]
    lines = [f"## Pareto front: {len(found.front)} of them", "", f"{reports.KNEE}.", ""]
    lines.append(markdown.row(["#", "measured", *metrics, "parameters"]))
    lines.append("|--:|--:|" + "--:|" * len(metrics) + "---|")
    for e, member in zip(found.front, found.members, strict=True):
        pairs = ", ".join(f"{name}={value}" for name, value in chosen(e).items())
        each = member.with_gains(f"{value:.4g}" for value in member.values)
        lines.append(markdown.row([str(e.number), f"{member.measurements} ×", *each, pairs]))
    return [*lines, ""]


EXPORTS = {
    "csv": as_csv,
    "json": as_json,
    "yaml": as_yaml,
    "markdown": as_markdown,
    "command": as_command,
}
IN_AN_ARCHIVE = {"report.md": as_markdown, "task.json": as_json, "experiments.csv": as_csv}


def archive(tasks: Iterable[TuningTask]) -> bytes:
    """A ZIP file with a folder for each task: its report, all that is known of it, and a table of
    its experiments.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as files:
        for task in tasks:
            folder = f"{slugify(task.name) or 'task'}-{task.pk}"
            for name, export in IN_AN_ARCHIVE.items():
                files.writestr(f"{folder}/{name}", export(task))
    return packed.getvalue()
