#!/usr/bin/env python3
"""How many experiments, and how much time, a search needs on surfaces whose best is known.

    python tests/performance/search.py [--seeds 30] [--first 0] [--surfaces vllm,latency]
        [--only strategies,pruning,winner,ask] [--strategies gp,random,plain_tpe]

One surface is a grid that was measured on a real vLLM, the others are written down, with failures;
all with noise. Each search is the product's own, `tuning.next_step`, on a simulated clock. Prints
one JSON document, each ratio with the 95 % interval that the seeds leave; exit code 1: a bar is
missed.
"""

import argparse
import json
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from experiments.sections import Optimization
from experiments.strategies import STRATEGIES
from experiments.strategies.base import Trial
from tests.performance import configured
from tests.performance.resampling import interval
from tests.performance.surfaces import SURFACES
from tests.performance.surfaces.search import plain_tpe, simulate, winner

DEFAULT = Optimization.model_fields["strategy"].default
PLAIN = "plain_tpe"
COMPARED = [DEFAULT, "bayesian", "quick", "nsga2", "random", "grid_search", PLAIN]
AT_ONCE = (1, 4)
WITHIN = 0.02  # of the true best
BUDGET = 120  # experiments; a search that has not found it then counts as twice as long
WHOLE_BUDGET = 60  # of a search with repeats, and with pruning
BARS = {"random": 0.5, PLAIN: 0.8, "parallel": 0.35, "pruning": 0.6, "winner": 29 / 30}
ASK_AT_MOST = 0.5  # seconds, with so many finished experiments:
HISTORY = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--strategies", default=",".join(COMPARED))
    parser.add_argument("--surfaces", default=",".join(SURFACES))
    options = parser.parse_args()
    assert configured.READY
    measured: dict[str, Any] = {"default": DEFAULT, "seeds": options.seeds}
    names, among = options.surfaces.split(","), options.strategies.split(",")
    parts = {**PARTS, "strategies": partial(strategies, among=among)}
    seeds = range(options.first, options.first + options.seeds)
    with multiprocessing.get_context("fork").Pool() as pool:
        for part in options.only.split(","):
            jobs = {name: parts[part](pool, name, seeds) for name in names}
            measured[part] = {name: finish() for name, finish in jobs.items()}
    missed = [
        f"{part} on {name}: {bar}"
        for part in options.only.split(",")
        for name, figures in measured[part].items()
        for bar, is_met in figures["bars"].items()
        if not is_met
    ]
    print(json.dumps({**measured, "missed": missed}, indent=2))
    sys.exit(1 if missed else 0)


Finish = Callable[[], dict[str, Any]]


def over_seeds(pool: Any, work: Callable[[int], Any], seeds: range) -> Any:
    return pool.map_async(work, seeds, chunksize=1)


def spread(experiments: Sequence[float], hours: Sequence[float]) -> dict[str, float]:
    ordered = sorted(experiments)
    return {
        "experiments": statistics.median(ordered),
        "p90": ordered[int(0.9 * (len(ordered) - 1))],
        "found": sum(value <= BUDGET for value in ordered),
        "hours": round(statistics.median(hours), 3),
    }


def compared(
    own: Sequence[float],
    others: Sequence[float],
    bar: float,
    ratio: Callable[[Sequence[float], Sequence[float]], float],
) -> dict[str, Any]:
    """A ratio of two sides, by the same seeds, beside its bar; `sure`: the bar is outside of the
    interval.
    """
    by, (low, high) = ratio(own, others), interval(ratio, own, others)
    figures = {"ratio": round(by, 3), "interval": [round(low, 3), round(high, 3)], "bar": bar}
    return {**figures, "met": by <= bar, "sure": not low <= bar <= high}


def of_medians(own: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(own) / statistics.median(others)


def of_sums(own: Sequence[float], others: Sequence[float]) -> float:
    return sum(own) / sum(others)


# ── until within 2 % of the best: experiments and time, one after the other and four at once ──

Reached = tuple[float, float]  # Experiments, and hours; twice as many where it was not in budget


def reached(name: str, strategy: str, at_once: int, seed: int) -> Reached:
    surface = SURFACES[name]
    if strategy == PLAIN:
        found, seconds = plain_tpe(surface, seed, BUDGET, at_once, WITHIN)
    else:
        run = simulate(surface, strategy, seed, BUDGET, at_once=at_once, stop_within=WITHIN)
        found, seconds = run.found, run.seconds
    return (found, seconds / 3600) if found else (2 * BUDGET, 2 * seconds / 3600)


def strategies(
    pool: Any, name: str, seeds: range, among: Sequence[str] = tuple(COMPARED)
) -> Finish:
    size = SURFACES[name].space.size()
    known = [one for one in among if size is not None or one != "grid_search"]
    jobs = {
        (one, at_once): over_seeds(pool, partial(reached, name, one, at_once), seeds)
        for one in known
        for at_once in AT_ONCE
    }

    def finish() -> dict[str, Any]:
        found: dict[Any, list[list[float]]] = {
            key: [list(column) for column in zip(*job.get(), strict=True)]
            for key, job in jobs.items()
        }
        experiments = {one: found[one, 1][0] for one in known}
        ratios = {
            f"experiments / {other}'s": compared(
                experiments[DEFAULT], experiments[other], BARS[other], of_medians
            )
            for other in ("random", PLAIN)
            if {DEFAULT, other} <= set(known)
        }
        # Times of sums: of searches in waves of equal length a median jumps by a whole wave
        if DEFAULT in known:
            ratios["hours at 4 / at 1"] = compared(
                found[DEFAULT, 4][1], found[DEFAULT, 1][1], BARS["parallel"], of_sums
            )
        best_first = SURFACES[name].best_first(WITHIN)
        return {
            "configurations": size,
            **({"best first": best_first} if best_first else {}),
            **{
                f"{at_once} at once": {one: spread(*found[one, at_once]) for one in known}
                for at_once in AT_ONCE
            },
            "ratios": ratios,
            # No model of chance is asked for
            "bars": {
                f"{what} ≤ {one['bar']}": one["met"]
                for what, one in ratios.items()
                if not (best_first and what.startswith("experiments"))
            },
        }

    return finish


# ── benchmark time with and without pruning ─────────────────────────────────────────────────


def pruned(name: str, is_on: bool, seed: int) -> tuple[float, float]:
    """The seconds of measuring, and the winner's true regret."""
    run = simulate(SURFACES[name], DEFAULT, seed, WHOLE_BUDGET, pruning=is_on, repeats=None)
    return run.measuring, winner(run).regret


def pruning(pool: Any, name: str, seeds: range) -> Finish:
    jobs = {on: over_seeds(pool, partial(pruned, name, on), seeds) for on in (True, False)}

    def finish() -> dict[str, Any]:
        results = {on: job.get() for on, job in jobs.items()}
        seconds = {on: [each for each, _ in runs] for on, runs in results.items()}
        regret = {on: statistics.mean(each for _, each in runs) for on, runs in results.items()}
        against = compared(seconds[True], seconds[False], BARS["pruning"], of_sums)
        more = [a - b for (_, a), (_, b) in zip(results[True], results[False], strict=True)]
        several = len(SURFACES[name].loads) > 1
        return {
            "share_of_benchmark_time": against,
            "mean_regret": {"pruned": regret[True], "whole": regret[False]},
            "more_regret": interval(statistics.mean, more),
            "bars": {f"≤ {BARS['pruning']}": against["met"]} if several else {},
        }

    return finish


# ── the declared winner ─────────────────────────────────────────────────────────────────────


def declared(name: str, seed: int) -> dict[str, Any]:
    run = simulate(SURFACES[name], DEFAULT, seed, WHOLE_BUDGET, at_once=4, repeats=None)
    return winner(run).document()


def winners(pool: Any, name: str, seeds: range) -> Finish:
    job = over_seeds(pool, partial(declared, name), seeds)

    def finish() -> dict[str, Any]:
        found = job.get()
        noise = SURFACES[name].noise
        right = sum(one["regret"] <= noise for one in found)
        held = [one["holds"] for one in found if one["holds"] is not None]
        return {
            "within_noise_of_the_best": right,
            "such_a_one_was_tried": sum(one["tried"] <= noise for one in found),
            "of": len(seeds),
            "median_regret": statistics.median(one["regret"] for one in found),
            "intervals_that_hold_the_true_gain": f"{sum(held)} of {len(held)}",
            "bars": {"29 of 30": right >= BARS["winner"] * len(seeds)},
        }

    return finish


# ── one ask after a long history ────────────────────────────────────────────────────────────


def ask_seconds(name: str, strategy: str) -> float:
    surface, rng = SURFACES[name], random.Random(1)
    trials = [Trial({}, surface.baseline, True)]
    most = min(HISTORY, (surface.space.size() or 10 * HISTORY) // 2)
    seen: set[str] = set()
    while len(seen) < most:
        configuration = surface.space.sample(rng)
        key = surface.space.key(configuration)
        if key not in seen:
            value = surface.value(configuration)
            trials.append(Trial(configuration, value, value is not None))
            seen.add(key)
    took = []
    for _ in range(3):  # The first one also imports
        began = time.process_time()
        STRATEGIES[strategy].ask(surface.space, trials, maximize=surface.maximize, seed=1)
        took.append(time.process_time() - began)
    return min(took)


def ask(pool: Any, name: str, seeds: range) -> Finish:
    known = [one for one in COMPARED if one not in ("grid_search", PLAIN)]
    jobs = {one: pool.apply_async(ask_seconds, (name, one)) for one in known}

    def finish() -> dict[str, Any]:
        figures = {strategy: job.get() for strategy, job in jobs.items()}
        return {
            "cpu_seconds": figures,
            "bars": {f"{DEFAULT} < {ASK_AT_MOST} s": figures[DEFAULT] < ASK_AT_MOST},
        }

    return finish


PARTS: dict[str, Callable[[Any, str, range], Finish]] = {
    "strategies": strategies,
    "pruning": pruning,
    "winner": winners,
    "ask": ask,
}

if __name__ == "__main__":
    main()
