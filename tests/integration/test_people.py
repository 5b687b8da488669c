"""What people do to tasks while they run, and after, on the whole product."""

import time
from typing import Any

import pytest

from tests.integration.product import Product, job, until
from tests.integration.test_operators import (
    SOON,
    SPEED,
    experiments,
    running,
    sleepers,
    stays,
    task_until_told,
)


def status(product: Product, name: str) -> str:
    return str(product.json("show", name)["status"])


def statuses(product: Product, name: str) -> list[str]:
    return [one["status"] for one in experiments(product, name)]


def done(product: Product, name: str) -> Any:
    """The task, when it has ended."""
    return until(
        lambda: (
            (task := product.json("show", name))["status"] not in ("RUNNING", "PAUSED") and task
        ),
        SOON,
    )


def wide(name: str, script: str, values: int, gpus: int, **optimization: Any) -> dict[str, Any]:
    """A task whose experiments need so many GPUs each."""
    task = job(name, script, list(range(1, values + 1)), **optimization)
    return {**task, "resources": {"gpus": gpus}}


def until_told(product: Product, name: str) -> str:
    return f"until test -e {product.folder}/{name}-go; do sleep 0.1; done; {SPEED}"


def test_a_paused_task_ends_what_runs_and_starts_nothing_until_it_is_resumed(
    product: Product,
) -> None:
    script = until_told(product, "paused")
    product.tune(wide("paused", script, 5, gpus=2, max_parallel_experiments=4))
    until(lambda: len(running(product, "paused")) == 2, SOON)
    until(lambda: product.json("gpus")["waiting"], SOON)
    said = product.manage("pause", "paused").stdout
    assert "the 2 experiments that run go on to their end" in said
    assert product.json("gpus")["waiting"] == []
    assert "is paused already" in product.manage("pause", "paused").stdout
    (product.folder / "paused-go").touch()
    until(lambda: statuses(product, "paused").count("SUCCESS") == 2, SOON)
    until(lambda: not product.json("gpus")["leases"], SOON)
    stays(lambda: statuses(product, "paused").count("SUCCESS") == 2, 6)  # Also when it is healed
    assert status(product, "paused") == "PAUSED"
    assert "paused" in product.manage("show", "paused").stdout
    product.manage("resume", "paused")
    task = done(product, "paused")
    assert [one["status"] for one in task["experiments"]] == ["SUCCESS"] * 5
    assert {one["attempt"] for one in task["experiments"]} == {1}
    assert product.manage("resume", "paused", check=False).returncode == 2


def test_what_failed_is_tried_again_and_its_task_with_it(product: Product) -> None:
    mended = product.folder / "mended"
    script = f"if test $AUTOTUNER_X = 2 -o -e {mended}; then {SPEED}; else exit 1; fi"
    product.tune(job("retried", script, [1, 2, 3], max_parallel_experiments=3))
    assert done(product, "retried")["status"] == "COMPLETED"
    assert statuses(product, "retried") == ["FAILED", "SUCCESS", "FAILED"]
    mended.touch()
    assert (
        "#3 of retried is tried again"
        in product.manage("retry", "retried", "--experiment", "3").stdout
    )
    assert done(product, "retried")["best"]["number"] == 3
    assert "#1 of retried" in product.manage("retry", "retried").stdout
    task = done(product, "retried")
    assert [(one["status"], one["attempt"]) for one in task["experiments"]] == [
        *(("SUCCESS", 2), ("SUCCESS", 1), ("SUCCESS", 2)),
    ]
    again = product.manage("retry", "retried", check=False)
    assert (again.returncode, again.stderr) == (
        2,
        "CommandError: ID: no experiment of retried has failed\n",
    )


def test_an_ended_task_is_extended_and_its_search_goes_on(product: Product) -> None:
    product.tune(job("extended", SPEED, [1, 2, 3, 4], max_iterations=2))
    assert done(product, "extended")["best"]["parameters"] == {"x": 2}
    for _ in range(2):
        product.manage("extend", "extended", "3")
    assert [one["parameters"]["x"] for one in done(product, "extended")["experiments"]] == [1, 2, 3]
    product.manage("extend", "extended", "+5")
    task = done(product, "extended")
    assert (task["max_iterations"], len(task["experiments"])) == (8, 4)
    assert (task["status"], task["message"]) == ("COMPLETED", "every configuration was tried")


def test_the_higher_priority_goes_first_also_when_it_is_changed_while_it_waits(
    product: Product,
) -> None:
    for name in ("first", "second", "third"):
        product.tune(wide(name, until_told(product, name), 1, gpus=4))
        if name == "first":
            until(lambda: running(product, "first"), SOON)
        else:
            until(lambda name=name: experiments(product, name), SOON)  # type: ignore[misc]
    until(lambda: len(product.json("gpus")["waiting"]) == 2, SOON)
    product.manage("priority", "third", "10")
    until(lambda: product.json("gpus")["waiting"][0]["priority"] == 10, 4)  # Sooner than healed
    (product.folder / "first-go").touch()
    until(lambda: running(product, "third"), SOON)
    assert statuses(product, "second") == ["PENDING"]
    for name in ("third", "second"):  # One after the other: each needs all GPUs
        (product.folder / f"{name}-go").touch()
        assert done(product, name)["status"] == "COMPLETED"


def test_one_experiment_is_cancelled_and_its_task_goes_on(product: Product) -> None:
    script = f"if test $AUTOTUNER_X = 1; then sleep 1234; else {SPEED}; fi"
    product.tune(job("partly", script, [1, 2, 3], max_parallel_experiments=1))
    until(lambda: sleepers(product), SOON)
    product.manage("cancel", "partly", "--experiment", "1")
    asked = time.monotonic()
    until(lambda: not sleepers(product), 30)
    assert time.monotonic() - asked < 6  # The promise is 5 s; one more for this loop
    task = done(product, "partly")
    assert (task["status"], [one["status"] for one in task["experiments"]]) == (
        "COMPLETED",
        ["CANCELLED", "SUCCESS", "SUCCESS"],
    )


def test_a_clone_is_saved_and_started_later(product: Product) -> None:
    product.tune(job("original", SPEED, [5]))
    done(product, "original")
    product.manage("clone", "original", "twin")
    assert status(product, "twin") == "PENDING"
    product.manage("start", "twin")
    assert done(product, "twin")["best"]["parameters"] == {"x": 5}
    product.manage("clone", "original", "triplet", "--start")
    assert done(product, "triplet")["status"] == "COMPLETED"


def test_a_limit_and_a_pause_together_are_kept(product: Product) -> None:
    go = task_until_told(product, "both", 6, max_parallel_experiments=4)
    until(lambda: len(running(product, "both")) == 4, SOON)
    product.manage("pause", "both")
    product.manage("parallel", "both", "1")
    go()
    until(lambda: statuses(product, "both").count("SUCCESS") == 4, SOON)
    product.manage("resume", "both")
    task = done(product, "both")
    assert task["max_parallel_experiments"] == 1
    first, second = (one for one in task["experiments"] if one["number"] > 4)
    assert first["finished_at"] <= second["started_at"]


@pytest.mark.parametrize(
    "words",
    [
        ["pause", "nobody"],
        ["pause"],
        ["start", "original"],
        ["resume", "original"],
        ["retry", "original", "--experiment", "9"],
        ["cancel", "original", "--experiment", "one"],
        ["extend", "original", "many"],
        ["extend", "original", "0"],
        ["priority", "original", "101"],
        ["clone", "original", "twin"],
        ["clone", "original"],
        ["prune"],
        ["prune", "--older-than", "long"],
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(product: Product, words: list[str]) -> None:
    refused = product.manage(*words, check=False)
    assert refused.returncode == 2 and not refused.stdout
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
