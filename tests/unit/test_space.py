import random

import pytest

from experiments.errors import BadInput
from experiments.space import (
    Choices,
    Continuous,
    Integer,
    Space,
    parse_space,
    space_problems,
)


def dimension(raw):
    return parse_space({"flag": raw}).dimensions[0]


def refusal(raw):
    with pytest.raises(BadInput) as refused:
        dimension(raw)
    return str(refused.value)


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ([4, 8], Choices("flag", (4, 8))),
        (8192, Choices("flag", (8192,))),
        (True, Choices("flag", (True,))),
        ({"type": "categorical", "values": ["a", 1]}, Choices("flag", ("a", 1))),
        ({"type": "choice", "values": [0.8]}, Choices("flag", (0.8,))),
        ({"type": "boolean"}, Choices("flag", (True, False))),
        ({"type": "int", "low": 1, "high": 4}, Integer("flag", 1, 4)),
        (
            {"type": "integer", "low": 256, "high": 8192, "step": 256, "log": True},
            Integer("flag", 256, 8192, 256, True),
        ),
        ({"type": "float", "low": 0, "high": 1}, Continuous("flag", 0.0, 1.0)),
        (
            {"type": "continuous", "low": 0.7, "high": 0.95, "step": 0.05},
            Continuous("flag", 0.7, 0.95, 0.05),
        ),
    ],
)
def test_a_parameter_is_a_list_a_range_or_one_value(raw, parsed):
    assert dimension(raw) == parsed


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "parameters.flag: the list is empty; give at least one value"),
        ([1, 1.0], "parameters.flag: 1.0 is given twice"),
        (None, "parameters.flag: has no values; give a list, a range or one value"),
        (
            [[1]],
            "parameters.flag: a list is not a value; use text, a number, true or false",
        ),
        ([float("nan")], "parameters.flag: nan is not a finite number"),
        (
            {"type": "continuous", "low": 0.95, "high": 0.7},
            "parameters.flag.low: 0.95 is not below high 0.7",
        ),
        (
            {"type": "integer", "low": 0, "high": 8, "log": True},
            "parameters.flag.low: 0 is not above 0, which log needs",
        ),
        (
            {"type": "integer", "low": 1, "high": 8, "step": 0},
            "parameters.flag.step: 0 is not above 0",
        ),
        (
            {"type": "integer", "low": 1, "high": 8, "step": 8},
            "parameters.flag.step: 8 is larger than the range from 1 to 8",
        ),
        (
            {"type": "continuous", "low": 0, "high": 1, "step": 1e-9},
            "parameters.flag.step: 1e-09 makes 1000000001 values; at most 1000000",
        ),
        (
            {"type": "integer", "low": 1, "hgh": 8},
            "parameters.flag.hgh: unknown field; did you mean high?",
        ),
        ({"type": "integer", "low": 1}, "parameters.flag.high: is missing"),
        (
            {"type": "integer", "low": 1, "high": 2.5},
            "parameters.flag.high: expected a whole number, got 2.5",
        ),
        (
            {"type": "float", "low": 1, "high": "2"},
            'parameters.flag.high: expected a number, got "2"',
        ),
        (
            {"type": "float", "low": 1, "high": 2, "log": 1},
            "parameters.flag.log: expected true or false, got 1",
        ),
        ({"type": "integr"}, "parameters.flag.type: 'integr' is unknown; did you mean integer?"),
        ({"type": "categorical", "values": 3}, "parameters.flag.values: give a list of values"),
    ],
)
def test_a_refusal_names_the_field_and_the_fix(raw, message):
    assert refusal(raw) == message


@pytest.mark.parametrize(
    ("values", "said", "ordered"),
    [
        ([4, 8, 16], None, True),
        ([0.9, 0.8], None, True),
        ([4, 16, 8], None, False),
        ([4], None, False),
        ([True, False], None, False),
        ([1, "2"], None, False),
        (["low", "high"], None, False),
        (["low", "high"], True, True),
        ([4, 16, 8], True, True),
        ([4, 8], False, False),
    ],
)
def test_numbers_that_ascend_or_descend_are_ordered_unless_the_user_says(values, said, ordered):
    assert dimension({"type": "categorical", "values": values, "ordered": said}).ordered is ordered
    assert said is not None or dimension(values).ordered is ordered


def test_whether_choices_are_ordered_is_true_or_false():
    message = 'parameters.flag.ordered: expected true or false, got "yes"'
    assert refusal({"type": "categorical", "values": [1, 2], "ordered": "yes"}) == message


def test_every_wrong_parameter_is_found():
    found = space_problems({"a": [], "b": [1], "c": None})
    assert [problem.field for problem in found] == ["parameters.a", "parameters.c"]


@pytest.mark.parametrize("name", ["max-num-seqs", "n_ctx", "env.OMP_NUM_THREADS", "a.b"])
def test_a_flag_or_a_variable_can_be_a_parameter(name):
    assert parse_space({name: [1]}).names == [name]


@pytest.mark.parametrize("name", ["--max-num-seqs", "a b", "", "env.", "env.1", 7])
def test_what_is_no_flag_is_refused_as_a_name(name):
    with pytest.raises(BadInput, match="is no flag's name"):
        parse_space({name: [1]})


def test_true_and_1_are_different_values():
    space = parse_space({"flag": [True, 1]})
    assert space.size() == 2
    assert space.key({"flag": True}) != space.key({"flag": 1})
    assert not parse_space({"flag": [True]}).contains({"flag": 1})
    assert not parse_space({"flag": {"type": "int", "low": 0, "high": 2}}).contains({"flag": True})


def test_equal_configurations_have_one_key():
    space = parse_space({"a": [1, 2], "b": {"type": "float", "low": 0, "high": 1, "step": 0.1}})
    assert space.key({"a": 1, "b": 0.3}) == space.key({"b": 0.1 + 0.2, "a": 1.0})
    assert space.key({"a": 1, "b": 0.3}) != space.key({"a": 1, "b": 0.4})
    assert space.key({"a": 1, "b": 1}) == space.key({"a": 1, "b": 1.0})


def test_the_baseline_has_a_key_and_is_not_in_the_space():
    space = parse_space({"a": [1]})
    assert space.key({}) != space.key({"a": 1})
    assert not space.contains({})
    assert not space.contains({"a": 1, "b": 2})
    assert space.contains({"a": 1.0})


def test_the_grid_keeps_the_users_order_and_the_last_key_changes_fastest():
    space = parse_space({"b": [2, 1], "a": {"type": "int", "low": 1, "high": 5, "step": 2}})
    assert [tuple(point.values()) for point in space.grid()] == [
        (2, 1),
        (2, 3),
        (2, 5),
        (1, 1),
        (1, 3),
        (1, 5),
    ]
    assert all(list(point) == ["b", "a"] for point in space.grid())
    assert space.size() == 6


def test_steps_are_the_decimals_that_the_user_wrote():
    stepped = Continuous("flag", 0.7, 0.95, 0.05)
    assert stepped.values() == [0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert stepped.contains(0.8500000000000001)
    assert not stepped.contains(0.83)


def test_a_step_that_does_not_reach_high_stops_below_it():
    assert list(Integer("flag", 1, 6, 2).values()) == [1, 3, 5]
    assert Continuous("flag", 0.0, 1.0, 0.4).values() == [0.0, 0.4, 0.8]
    assert Continuous("flag", 0.0, 1.0, 0.4).snap(1.0) == 0.8


def test_a_continuous_range_has_no_size_and_no_grid():
    space = parse_space({"a": [1, 2], "b": {"type": "float", "low": 0, "high": 1}})
    assert space.size() is None
    assert space.dimensions[1].values() is None
    with pytest.raises(BadInput, match=r"parameters\.b: cannot be listed; give it a step"):
        space.grid()


def test_a_vast_grid_is_never_listed_as_a_whole():
    wide = {"type": "int", "low": 1, "high": 10**9}
    space = parse_space({"a": wide, "b": wide, "c": wide})
    assert space.size() == 10**27
    assert next(space.grid()) == {"a": 1, "b": 1, "c": 1}
    assert space.point(10**27 - 1) == {"a": 10**9, "b": 10**9, "c": 10**9}


@pytest.mark.parametrize(
    "raw",
    [
        ["a", True, 3, 0.5],
        {"type": "int", "low": 1, "high": 6, "step": 2},
        {"type": "int", "low": 3, "high": 1000, "step": 7, "log": True},
        {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        {"type": "float", "low": 0.7, "high": 0.96, "step": 0.05},
        {"type": "float", "low": 0.1, "high": 10, "step": 0.3, "log": True},
    ],
)
def test_every_sample_is_in_the_space(raw):
    space = parse_space({"flag": raw})
    rng = random.Random(1)
    samples = [space.sample(rng) for _ in range(200)]
    assert all(space.contains(sample) for sample in samples)
    ends = [space.dimensions[0].at(share) for share in (0.0, 1 - 2**-53)]
    assert all(space.contains({"flag": end}) for end in ends)


def test_with_log_every_order_of_magnitude_is_as_likely():
    space = parse_space({"flag": {"type": "int", "low": 1, "high": 9999, "log": True}})
    rng = random.Random(1)
    small = sum(space.sample(rng)["flag"] < 100 for _ in range(1000))
    assert 450 < small < 550


def test_the_same_seed_gives_the_same_samples():
    space = parse_space({"a": [1, 2, 3], "b": {"type": "float", "low": 0, "high": 1}})
    assert space.sample(random.Random(7)) == space.sample(random.Random(7))


def test_a_name_is_given_once():
    with pytest.raises(BadInput, match=r"parameters\.a: is given twice"):
        Space((Choices("a", (1,)), Integer("a", 1, 2)))


def test_a_number_that_nobody_can_take_is_refused():
    assert refusal([2**63]).startswith("parameters.flag: the number is too large")
    assert refusal({"type": "float", "low": -1e308, "high": 1e308}) == (
        "parameters.flag.high: 1e+308 is too far from low -1e+308"
    )
    assert "makes inf values" in refusal({"type": "float", "low": 0, "high": 1e300, "step": 1e-300})
