"""What no configuration can meet is said when the task is saved."""

import pytest

from experiments.satisfiable import unsatisfiable, without_effect
from experiments.space import parse_space

VAST = {"type": "integer", "low": 1, "high": 10**9}
RAW = {
    "a": [1, 2],
    "b": [1, 2, 3],
    "kind": ["x", "y"],
    "of-x": {"type": "categorical", "values": [1, 2], "when": {"kind": "x"}},
    "of-y": {"type": "categorical", "values": [1, 2], "when": {"kind": "y"}},
    "mixed": ["auto", 4],
    "vast": VAST,
    "vaster": VAST,
    "share": {"type": "float", "low": 0, "high": 1},
}


def said(*constraints, raw=RAW, **options):
    return [str(problem) for problem in unsatisfiable(parse_space(raw, constraints, **options))]


@pytest.mark.parametrize(
    ("constraints", "problems"),
    [
        ((), []),
        (("a >= b", "vast > vaster", "share > 0.5", "of-x > 1", "mixed == 4"), []),
        (("a >= b", "a > 2"), ["constraints[1]: no configuration meets it"]),
        (("b > 3", "a > 2"), [f"constraints[{i}]: no configuration meets it" for i in (0, 1)]),
        (
            ("a > 1", "a == b", "b < 2"),
            ["constraints[2]: no configuration meets it and those before it"],
        ),
        (("of-x > 2",), ["constraints[0]: no configuration meets it"]),
        (
            ("of-x + of-y > 2",),
            ["constraints[0]: never applies: its parameters are never active together"],
        ),
        (
            ("mixed > 3",),
            ["constraints[0]: an order (< <= > >=) needs a number, not 'auto'"],
        ),
        (("mixed == 'auto' or mixed > 3",), []),
        (("share < 0",), ["constraints[0]: no configuration meets it among 10000 drawn by chance"]),
        (
            ("vast == vaster",),
            ["constraints[0]: no configuration meets it among 10000 drawn by chance"],
        ),
        (("a / (b - b) > 1",), ["constraints[0]: no configuration meets it"]),
    ],
)
def test_a_constraint_that_cannot_be_met_is_named(constraints, problems):
    assert said(*constraints) == problems


def test_the_value_of_a_fixed_flag_counts():
    assert said("a * 10 > limit", fixed={"limit": 20}) == [
        "constraints[0]: no configuration meets it"
    ]
    assert said("a * 10 >= limit", fixed={"limit": 20}) == []


def test_a_parameter_that_can_never_exist_is_named():
    raw = {
        "a": [1, 2],
        "b": {"type": "categorical", "values": [1], "when": {"a": 1}},
        "c": {"type": "categorical", "values": [1], "when": {"b": 1, "a": 2}},
    }
    assert said(raw=raw) == ["parameters.c.when: no configuration meets it"]


def test_a_constraint_that_forbids_nothing_is_known_where_all_can_be_looked_at():
    texts = ["a < b", "a > 0", "of-x < 3", "of-x + of-y < 5", "vast > 0"]
    found = without_effect(parse_space(RAW, texts))
    assert [constraint.text for constraint in found] == ["a > 0", "of-x < 3", "of-x + of-y < 5"]


def test_rare_configurations_are_found_by_listing_all():
    raw = {name: {"type": "integer", "low": 1, "high": 300} for name in "ab"}
    assert said("a * 300 == b", raw=raw) == []
