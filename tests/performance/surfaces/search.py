"""The product's own search on a surface, with a simulated clock instead of engines."""

import heapq
import random
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from experiments import ladder, repeats, scoring, standing, tuning
from experiments.benchmarks.base import StopWhen
from experiments.benchmarks.client import Answer
from experiments.benchmarks.samples import standard_errors
from experiments.models import TuningTask
from experiments.race import Rules, Standing
from experiments.scoring import LevelResult
from experiments.space import Configuration
from experiments.states import FailureKind, Status
from experiments.taskfile import from_dict
from experiments.tuning import Past, Step
from tests.performance.surfaces.requests import answers, hear, level_of, samples
from tests.performance.surfaces.surface import Surface


@dataclass
class Run:
    """One search: its experiments, and what they cost."""

    surface: Surface
    task: TuningTask
    rows: list[Past] = field(default_factory=list)
    levels: dict[int, list[LevelResult]] = field(default_factory=dict)
    answers: dict[tuple[int, str], list[Answer]] = field(default_factory=dict)
    seconds: float = 0.0  # on the clock
    measuring: float = 0.0  # of all load levels
    found: int | None = None  # How many experiments there were when one was good enough


@dataclass(frozen=True)
class Winner:
    """What the task says, beside the truth."""

    regret: float
    tried: float  # The least regret of all that were tried: what a perfect choice would have
    holds: bool | None  # Whether the interval of the gain holds the true gain

    def document(self) -> dict[str, Any]:
        return asdict(self)


def simulate(
    surface: Surface,
    strategy: str,
    seed: int,
    budget: int,
    *,
    at_once: int = 1,
    pruning: bool = False,
    repeats: int | None = 0,
    stop_within: float = 0.0,
) -> Run:
    """Search until the budget is used up, or until a configuration is so near to the best."""
    run = Run(surface, task_of(surface, strategy, seed, budget, at_once, repeats))
    rng = random.Random(f"{surface.name}:{strategy}:{seed}")
    running: list[tuple[float, int]] = []
    while True:
        while len(running) < at_once:
            step = tuning.next_step(run.task, run.rows)
            if step is None or (step.alone and running):
                break
            took = _begin(run, step, rng, pruning)
            heapq.heappush(running, (run.seconds + took, len(run.rows) - 1))
        if not running:
            return run
        run.seconds, index = heapq.heappop(running)
        run.rows[index] = _ended(run, run.rows[index])
        ended = run.rows[index]
        if ended.status == Status.SUCCESS and surface.regret(ended.parameters) <= stop_within:
            run.found = len(run.rows)
            if stop_within:
                return run


def task_of(
    surface: Surface, strategy: str, seed: int, budget: int, at_once: int, again: int | None
) -> TuningTask:
    """A task that is in no database, for the rules that want one."""
    optimization = {
        "strategy": strategy,
        "objective": "maximize_throughput" if surface.maximize else "minimize_ttft",
        "max_iterations": budget,
        "max_parallel_experiments": at_once,
        "seed": seed,
        "skip_known_failures": False,  # What is known is kept in the database
        **({} if again is None else {"repeats": again}),
    }
    task = TuningTask()
    task.describe(
        from_dict(
            {
                "task_name": surface.name,
                "base_runtime": "vllm",
                "model": {"id_or_path": "/models/m"},
                "parameters": dict(surface.raw),
                "optimization": optimization,
            }
        )
    )
    return task


def _begin(run: Run, step: Step, rng: random.Random, pruning: bool) -> float:
    """A new row, which runs; the seconds that it will take."""
    surface, number = run.surface, len(run.rows) + 1
    start, _, fail = surface.seconds
    run.rows.append(
        Past(
            number=number,
            repeat_of=step.repeat_of,
            is_baseline=number == 1,
            pruned=False,
            status=Status.BENCHMARKING,
            parameters=step.configuration,
            objective_score=None,
            objective_values=[],
            penalty=None,
            feasible=None,
            error_kind="",
            error_may_pass=False,
            reached=None,
        )
    )
    whole = surface.measure(step.configuration, rng)
    whole = [_answered(run, number, level) for level in whole]
    compare = pruning and number > 1 and step.repeat_of is None
    run.levels[number], took = (
        _climbed(run, whole) if compare else (whole, _seconds(surface, whole))
    )
    run.measuring += took
    return start + took if whole else fail


def _whole(surface: Surface, levels: Sequence[LevelResult]) -> float:
    """The seconds of a whole experiment with these levels; of a failure, when there are none."""
    start, _, fail = surface.seconds
    return start + _seconds(surface, levels) if levels else fail


def _seconds(surface: Surface, levels: Sequence[LevelResult]) -> float:
    """Of these levels, measured to their ends."""
    metric = surface.objective.metric
    return sum(surface.level_seconds(level.metrics[metric]) for level in levels)


def _answered(run: Run, number: int, level: LevelResult) -> LevelResult:
    """The level with the single requests that it came from, where its load is known."""
    load = level_of(level.label)
    if load is None or load.concurrency is None:
        return level
    value = level.metrics[run.surface.objective.metric]
    seed = run.task.file.optimization.seed
    rng = random.Random(f"{run.surface.name}:{seed}:{number}:{level.label}")
    heard = answers(value, run.surface.requests, load.concurrency, rng)
    run.answers[number, level.label] = heard
    return replace(level, standard_errors=standard_errors(samples(heard)))


def _climbed(run: Run, whole: Sequence[LevelResult]) -> tuple[list[LevelResult], float]:
    """The levels that the ladder would have measured of these, and the seconds that took."""
    labels, took, number = list(run.surface.loads), 0.0, len(run.rows)
    measured: list[LevelResult] = []
    best, rules = _standing(run)
    by_label = {level.label: level for level in whole}
    while by_label and (step := ladder.next_step(labels, measured, best, rules)).level:
        level = by_label[step.level]
        stop, heard = _stop_when(run, rules, best, step), run.answers.get((number, step.level), [])
        value = level.metrics[rules.objective.metric]
        found = hear(heard, value, stop)
        took += found.share * run.surface.level_seconds(value)
        if found.why:
            metrics = {rules.objective.metric: found.value}
            level = replace(level, metrics=metrics, stopped_early=found.why)
        measured.append(level)
    return measured, took


def _stop_when(run: Run, rules: Rules, best: Standing | None, step: ladder.Step) -> StopWhen:
    """As `Climb` has it."""
    stop, level = ladder.hopeless(rules, step.needed), level_of(step.level)
    if best is None or level is None:
        return stop
    value = best.value(step.level, rules.objective.metric)
    taken = samples(run.answers[best.number, step.level])
    return replace(stop, pace=ladder.pace(rules, step.needed, level, value, taken))


def _standing(run: Run) -> tuple[Standing | None, Rules]:
    """The best experiment that has ended, and the noise that is known by now."""
    done = [row for row in run.rows if row.status == Status.SUCCESS and not row.pruned]
    groups = standing.grouped(
        (row.number, row.repeat_of, row.objective_score, row.feasible) for row in done
    )
    best = standing.best(groups, run.surface.maximize)
    rules = Rules(run.surface.objective, noise=standing.noise(groups))
    return (Standing(best[0], run.levels[best[0]]) if best else None), rules


def _ended(run: Run, row: Past) -> Past:
    levels = run.levels[row.number]
    if not levels:
        return row._replace(
            status=Status.FAILED, feasible=False, error_kind=FailureKind.OUT_OF_MEMORY, reached=0.0
        )
    labels = list(run.surface.loads)
    is_pruned = len(levels) < len(labels) or any(level.stopped_early for level in levels)
    best, rules = _standing(run)
    best = best if is_pruned else None
    score = ladder.result(labels, levels, best, rules)
    return row._replace(
        status=Status.SUCCESS,
        pruned=is_pruned,
        feasible=score.feasible,
        objective_score=score.objective_score,
        objective_values=list(score.values),
        penalty=score.penalty,
    )


def winner(run: Run) -> Winner:
    """The one that the task declares, at its end."""
    sure = repeats.certainty(run.task, run.rows)
    if sure is None:
        return Winner(float("inf"), float("inf"), None)
    tried = min(run.surface.regret(row.parameters) for row in run.rows)
    chosen = run.rows[sure.winner.number - 1].parameters
    holds = None
    if sure.gain is not None and sure.noise.freedom:
        true = scoring.gain(run.surface.value(chosen), run.surface.baseline, run.surface.maximize)
        assert true is not None
        holds = abs(sure.gain.share - true) <= sure.gain.plus_minus
    return Winner(run.surface.regret(chosen), tried, holds)


# ── Optuna as it comes ──────────────────────────────────────────────────────────────────────


def plain_tpe(
    surface: Surface, seed: int, budget: int, at_once: int, within: float
) -> tuple[int | None, float]:
    """Experiments (None: not in budget) and seconds until so near to the best with Optuna's own
    sampler.

    It also begins with the baseline, and is told of failures as Optuna's users do.
    """
    import optuna

    from experiments.strategies.bayesian import distributions_of, from_optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = random.Random(f"{surface.name}:plain:{seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            direction="maximize" if surface.maximize else "minimize",
            sampler=optuna.samplers.TPESampler(seed=seed),
        )
    running: list[tuple[float, int, Any, Configuration, list[LevelResult]]] = []
    seconds, begun = 0.0, 0
    while True:
        while len(running) < at_once and begun < budget:
            begun += 1
            trial = study.ask(distributions_of(surface.space)) if begun > 1 else None
            configuration = from_optuna(surface.space, trial.params) if trial else {}
            levels = surface.measure(configuration, rng)
            end = seconds + _whole(surface, levels)
            heapq.heappush(running, (end, begun, trial, configuration, levels))
        if not running:
            return None, seconds
        seconds, _, trial, configuration, levels = heapq.heappop(running)
        if levels and surface.regret(configuration) <= within:
            return begun, seconds
        if trial and levels:
            metric = surface.objective.metric
            study.tell(trial, sum(level.metrics[metric] for level in levels) / len(levels))
        elif trial:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
