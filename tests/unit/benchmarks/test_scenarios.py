"""Traffic scenarios: what is understood, what is refused, what is drawn from them."""

from random import Random
from statistics import mean, pstdev

import pytest

from experiments.benchmarks.scenarios import Scenario, parse


@pytest.mark.parametrize(
    ("text", "scenario"),
    [
        ("D(100,100)", Scenario("D", (100, 0), (100, 0))),
        (" D( 1024 , 32 ) ", Scenario("D", (1024, 0), (32, 0))),
        ("N(480,240)/(300,150)", Scenario("N", (480, 240), (300, 150))),
        ("N(480.5,0)/(300,1.5)", Scenario("N", (480.5, 0), (300, 1.5))),
        ("U(50,100)/(200,250)", Scenario("U", (50, 100), (200, 250))),
    ],
)
def test_the_three_forms_are_understood(text: str, scenario: Scenario) -> None:
    assert parse(text) == scenario


@pytest.mark.parametrize(
    "text",
    [
        "",
        "D",
        "D(100)",
        "D(100,100)/(1,1)",
        "D(0,10)",
        "D(10,0)",
        "D(1.5,10)",
        "D(-1,10)",
        "N(480,240)",
        "N(0,1)/(3,1)",
        "U(100,50)/(1,2)",
        "E(100,100)",
        "d(100,100)",
        "D(100,100) and more",
    ],
)
def test_anything_else_is_refused_with_the_three_forms(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse(text)
    for form in ("D(in,out)", "N(mean,dev)/(mean,dev)", "U(min,max)/(min,max)"):
        assert form in str(refusal.value)


def test_a_deterministic_scenario_always_draws_its_lengths() -> None:
    random = Random(1)
    assert {parse("D(128,64)").sample(random) for _ in range(20)} == {(128, 64)}


def test_a_uniform_scenario_draws_all_of_its_range_and_nothing_else() -> None:
    random = Random(1)
    drawn = [parse("U(3,6)/(10,12)").sample(random) for _ in range(500)]
    assert {length for length, _ in drawn} == {3, 4, 5, 6}
    assert {length for _, length in drawn} == {10, 11, 12}


def test_a_normal_scenario_has_its_mean_and_deviation() -> None:
    random = Random(1)
    drawn = [parse("N(500,50)/(100,10)").sample(random)[0] for _ in range(2000)]
    assert mean(drawn) == pytest.approx(500, abs=5)
    assert pstdev(drawn) == pytest.approx(50, abs=5)


def test_a_length_is_at_least_one_token() -> None:
    random = Random(1)
    drawn = [parse("N(1,100)/(1,100)").sample(random) for _ in range(200)]
    assert min(min(pair) for pair in drawn) == 1


def test_the_same_seed_draws_the_same_lengths() -> None:
    scenario = parse("N(100,30)/(50,10)")
    first, second = Random("7 level"), Random("7 level")
    assert [scenario.sample(first) for _ in range(20)] == [
        scenario.sample(second) for _ in range(20)
    ]
