"""What is expected to fail, from what has failed and what has started."""

import random
from collections.abc import Callable, Sequence

import pytest

from experiments.feasibility import Evidence, Outcome
from experiments.memory_need import rank_test
from experiments.space import Configuration, Space, parse_space
from experiments.states import FailureKind

OOM, CRASH, BAD_FLAG = (
    FailureKind.OUT_OF_MEMORY,
    FailureKind.ENGINE_CRASHED,
    FailureKind.BAD_FLAG,
)
SPACE = parse_space(
    {
        "max-num-seqs": [4, 8, 16, 32, 64],
        "max-model-len": [1024, 2048, 4096, 8192],
        "memory": {"type": "continuous", "low": 0.7, "high": 0.95, "step": 0.05},
        "dtype": ["auto", "half", "float3"],
        "prefix": [True, False],
        "block-size": [8, 16, 32],
    }
)


def engine(configuration: Configuration) -> FailureKind | None:
    """An out-of-memory corner of three flags, a value that does not exist, and one that crashes."""
    seqs, length = configuration["max-num-seqs"], configuration["max-model-len"]
    if configuration["dtype"] == "float3":
        return BAD_FLAG
    if configuration["block-size"] == 8 and configuration["prefix"]:
        return CRASH
    needed = float(seqs) * float(length)
    return OOM if needed > 80_000 * (float(configuration["memory"]) + 0.2) else None


def tried(space: Space, configurations: Sequence[Configuration]) -> list[Outcome]:
    outcomes = []
    for number, configuration in enumerate(configurations, start=1):
        kind = engine(configuration)
        said = "argument --dtype: invalid choice: 'float3' (choose from 'auto', 'half')"
        message = said if kind == BAD_FLAG else "boom"
        outcomes.append(Outcome(configuration, f"#{number}", kind, kind is None, message))
    return outcomes


def search(seed: int, experiments: int, *, with_vetoes: bool) -> list[Outcome]:
    """Random search, with or without asking what is expected to fail."""
    rng = random.Random(seed)
    outcomes: list[Outcome] = []
    while len(outcomes) < experiments:
        configuration = SPACE.sample(rng)
        if with_vetoes and Evidence(SPACE, outcomes).judge(configuration):
            continue
        outcomes = tried(SPACE, [*(one.configuration for one in outcomes), configuration])
    return outcomes


def test_the_share_of_failures_falls_and_nothing_that_works_is_lost() -> None:
    blind, knowing, vetoed, lost = 0, 0, 0, 0
    for seed in range(4):
        blind += sum(bool(one.kind) for one in search(seed, 50, with_vetoes=False))
        outcomes = search(seed, 50, with_vetoes=True)
        knowing += sum(bool(one.kind) for one in outcomes)
        evidence = Evidence(SPACE, outcomes)
        rng = random.Random(-seed)
        for configuration in (SPACE.sample(rng) for _ in range(500)):
            if evidence.judge(configuration):
                vetoed += 1
                lost += engine(configuration) is None
    assert blind > 0.6 * 200  # Of these four searches; most fail, for this space is hostile
    assert knowing < 0.7 * blind
    assert vetoed > 500 and lost <= 0.01 * vetoed


def outcome(number: int, kind: FailureKind | None, **configuration: object) -> Outcome:
    values: Configuration = {**configuration}  # type: ignore[dict-item]
    return Outcome(values, f"#{number}", kind, kind is None, "boom")


TWO = parse_space({"a": [1, 2, 4, 8, 16], "b": [1, 2, 4, 8], "c": ["x", "y"]})


def worked(count: int) -> list[Outcome]:
    """Small ones of TWO, which started."""
    small = [{"a": a, "b": b, "c": c} for a in (1, 2) for b in (1, 2) for c in ("x", "y")]
    return [Outcome(c, f"#{100 + i}") for i, c in enumerate(small[:count])]


def test_memory_grows_where_the_rows_say_so() -> None:
    outcomes = [
        *worked(8),
        outcome(1, OOM, a=8, b=4, c="x"),
        outcome(2, OOM, a=4, b=8, c="y"),
        outcome(3, OOM, a=8, b=8, c="y"),
    ]
    evidence = Evidence(TWO, outcomes)
    verdict = evidence.judge({"a": 16, "b": 8, "c": "x"})
    assert (
        verdict is not None
        and verdict.kind == OOM
        and set(verdict.sources)
        == {
            "#1",
            "#2",
            "#3",
        }
    )
    assert "(more a, more b)" in verdict.reason
    assert evidence.judge({"a": 4, "b": 4, "c": "x"}) is None  # Less than each that failed
    assert evidence.judge({"a": 16, "b": 1, "c": "x"}) is None


def test_memory_may_grow_as_a_number_shrinks() -> None:
    space = parse_space({"memory": [0.5, 0.6, 0.7, 0.8, 0.9], "c": ["x", "y"]})
    outcomes = [outcome(n, None, memory=m, c="x") for n, m in enumerate((0.7, 0.8, 0.9))]
    outcomes += [outcome(n, OOM, memory=m, c="x") for n, m in ((4, 0.5), (5, 0.6))]
    evidence = Evidence(space, outcomes[:3] + outcomes[4:] + [outcome(6, OOM, memory=0.55, c="x")])
    assert evidence.judge({"memory": 0.5, "c": "x"}) is not None
    assert evidence.judge({"memory": 0.5, "c": "y"}) is None  # Nothing of that kind has failed


def test_what_only_one_has_is_not_compared() -> None:
    """A parameter that depends on another one is missing where that one has another value."""
    outcomes = [
        *worked(8),
        Outcome({}, "#99"),  # The defaults
        outcome(1, OOM, a=8, b=4, c="x"),
        outcome(2, OOM, a=4, b=8, c="x"),
        outcome(3, OOM, a=8, c="y"),
    ]
    evidence = Evidence(TWO, outcomes)
    assert evidence.judge({"a": 16, "b": 8, "c": "x"}) is not None
    without = evidence.judge({"a": 16, "c": "y"})
    assert without is not None and without.sources == ("#3",)
    assert evidence.judge({"a": 16, "c": "x"}) is None


def test_a_direction_that_no_row_shows_is_not_assumed() -> None:
    outcomes = [outcome(1, OOM, a=4, b=4, c="x"), outcome(2, OOM, a=4, b=8, c="x")]
    assert Evidence(TWO, outcomes).judge({"a": 16, "b": 8, "c": "x"}) is None


def test_a_success_with_more_contradicts_a_failure_with_less() -> None:
    failed = [outcome(1, OOM, a=8, b=4, c="x"), outcome(2, OOM, a=4, b=8, c="x")]
    larger: Configuration = {"a": 16, "b": 8, "c": "x"}
    before = Evidence(TWO, worked(8) + failed)
    after = Evidence(TWO, [*worked(8), *failed, outcome(3, None, a=8, b=8, c="x")])
    assert before.judge(larger) is not None and after.judge(larger) is None


def test_what_differs_in_a_success_with_more_matters() -> None:
    failed = [outcome(1, OOM, a=8, b=4, c="x"), outcome(2, OOM, a=4, b=8, c="x")]
    success = outcome(3, None, a=16, b=8, c="y")
    evidence = Evidence(TWO, [*worked(8), *failed, success])
    assert evidence.judge({"a": 16, "b": 8, "c": "x"}) is not None
    failed.append(outcome(4, OOM, a=8, b=8, c="y"))
    evidence = Evidence(TWO, [*worked(8), *failed, success])
    assert evidence.judge({"a": 8, "b": 8, "c": "x"}) is not None
    assert evidence.judge({"a": 16, "b": 8, "c": "y"}) is None


def test_a_value_with_which_all_failed_is_vetoed_when_others_work() -> None:
    failed = [outcome(n, CRASH, a=16, b=n, c=c) for n, c in ((1, "x"), (4, "y"))]
    verdict = Evidence(TWO, worked(8) + failed).judge({"a": 16, "b": 2, "c": "y"})
    assert verdict is not None and verdict.is_weak
    assert verdict.reason.startswith("a=16: all 2 that had it failed with engine_crashed (#1, #4)")
    assert Evidence(TWO, worked(2) + failed).judge({"a": 16, "b": 2, "c": "y"}) is None
    one_worked = [*worked(8), *failed, outcome(9, None, a=16, b=8, c="x")]
    assert Evidence(TWO, one_worked).judge({"a": 16, "b": 2, "c": "y"}) is None


def test_what_is_new_beside_the_failures_is_tried() -> None:
    """Both that crashed had c=x as well: c=y may be another matter."""
    failed = [outcome(n, CRASH, a=16, b=n, c="x") for n in (1, 4)]
    evidence = Evidence(TWO, worked(8) + failed)
    assert evidence.judge({"a": 16, "b": 2, "c": "x"}) is not None
    assert evidence.judge({"a": 16, "b": 2, "c": "y"}) is None
    assert evidence.judge({"a": 16, "b": 8, "c": "x"}) is None


def test_many_failures_leave_no_doubt() -> None:
    failed = [outcome(b, CRASH, a=16, b=b, c=c) for b in (1, 2, 4) for c in ("x", "y")]
    failed = [Outcome(o.configuration, f"#{i}", CRASH, False) for i, o in enumerate(failed)]
    verdict = Evidence(TWO, worked(8) + failed).judge({"a": 16, "b": 2, "c": "y"})
    assert verdict is not None and not verdict.is_weak


def test_the_same_failure_of_another_task_is_enough() -> None:
    values: Configuration = {"a": 1, "b": 1, "c": "x"}
    there = Outcome(values, "#3 of nightly", CRASH, False, "boom", is_elsewhere=True)
    verdict = Evidence(TWO, [there]).judge(values)
    assert verdict is not None and verdict.reason == "failed in #3 of nightly: boom"
    assert Evidence(TWO, [there]).judge({**values, "a": 2}) is None


@pytest.mark.parametrize("failing", [engine, lambda _: OOM, lambda _: None])
def test_a_thousand_outcomes_are_weighed_within_one_ask(
    failing: Callable[[Configuration], FailureKind | None],
) -> None:
    """Only that it ends soon: the suite's limit is the judge."""
    rng = random.Random(1)
    outcomes = []
    for number in range(1000):
        configuration = SPACE.sample(rng)
        kind = failing(configuration)
        outcomes.append(Outcome(configuration, f"#{number}", kind, kind is None, "boom"))
    evidence = Evidence(SPACE, outcomes)
    for _ in range(50):
        evidence.judge(SPACE.sample(rng))


def test_ranks_tell_larger_from_smaller() -> None:
    assert rank_test([8, 16], [1, 2, 4]) == pytest.approx(1.732, abs=0.001)
    assert rank_test([1, 2], [4, 8, 16]) == -rank_test([8, 16], [1, 2, 4])
    assert rank_test([3, 3], [3, 3]) == 0.0
