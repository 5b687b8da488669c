"""Spaces in which parameters depend on each other: conditions, and constraints."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import BadInput
from experiments.parts import LISTED
from experiments.space import Space, parse_space

SPECULATIVE = {
    "method": {"type": "categorical", "values": ["ngram", "eagle"], "when": {"speculative": True}},
    "speculative": [True, False],
    "tokens": {"type": "integer", "low": 1, "high": 3, "when": {"method": "ngram"}},
    "env.X": {"type": "boolean", "when": {"method": ["eagle"], "speculative": [True]}},
    "seqs": [4, 8],
}
SIZES = {"tensor-parallel-size": [1, 2, 4, 8], "pipeline-parallel-size": [1, 2, 4], "seqs": [4, 8]}
AT_MOST_8 = "tensor-parallel-size * pipeline-parallel-size <= 8"


def refusal(raw, *constraints, **options):
    with pytest.raises(BadInput) as refused:
        parse_space(raw, constraints, **options)
    return str(refused.value)


def test_a_parameter_whose_condition_is_not_met_is_absent():
    space = parse_space(SPECULATIVE)
    expected = [
        {"speculative": True, "method": "ngram", "tokens": 1},
        {"speculative": True, "method": "ngram", "tokens": 2},
        {"speculative": True, "method": "ngram", "tokens": 3},
        {"speculative": True, "method": "eagle", "env.X": True},
        {"speculative": True, "method": "eagle", "env.X": False},
        {"speculative": False},
    ]
    assert list(space.grid()) == [{**one, "seqs": n} for one in expected for n in (4, 8)]
    assert space.size() == 12 and space.bound() == 2 * 2 * 3 * 2 * 2
    assert list(next(space.grid())) == ["method", "speculative", "tokens", "seqs"]


def test_configurations_that_differ_in_inactive_parameters_only_are_the_same():
    space = parse_space(SPECULATIVE)
    given = {"speculative": False, "method": "ngram", "tokens": 2, "seqs": 4}
    assert space.key(given) == space.key({"speculative": False, "seqs": 4})
    assert space.active(given) == {"speculative": False, "seqs": 4}
    assert space.contains(given)
    assert space.key({"speculative": True, "method": "ngram", "tokens": 2}) != space.key(
        {"speculative": True, "method": "ngram", "tokens": 3}
    )


def test_a_configuration_without_an_active_parameter_is_outside():
    space = parse_space(SPECULATIVE)
    assert not space.contains({"speculative": True, "seqs": 4})
    assert not space.contains({"speculative": False, "seqs": 4, "other": 1})
    assert not space.contains({})


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"b": 3}, "parameters.a.when.b: 3 is not a value of b"),
        ({"b": "2"}, 'parameters.a.when.b: "2" is not a value of b'),
        ({"b": [1, True]}, "parameters.a.when.b: true is not a value of b"),
        ({"bb": 1}, "parameters.a.when.bb: is not a parameter; did you mean b?"),
        ({"a": 1}, "parameters.a.when.a: a parameter cannot depend on itself"),
        ({"b": []}, "parameters.a.when.b: the list is empty; give at least one value"),
        ({"b": None}, "parameters.a.when.b: nothing is not a value; use text, a number"),
        ({"c": 1}, "parameters.c.when: c and a wait for each other"),
        (["b"], "parameters.a.when: give a mapping, such as {other-parameter: value}"),
        (
            {"max_model_len": 1},
            "parameters.a.when.max_model_len: is a fixed flag; a condition may name",
        ),
    ],
)
def test_a_wrong_condition_is_refused(when, message):
    raw = {
        "c": {"type": "categorical", "values": [1], "when": {"a": 1}},
        "a": {"type": "categorical", "values": [1, 2], "when": when},
        "b": [1, 2],
    }
    assert message in refusal(raw, fixed={"max-model-len": 1})


def test_names_in_conditions_and_constraints_may_be_spelt_otherwise():
    raw = {"a_b": [1, 2], "c": {"type": "integer", "low": 1, "high": 3, "when": {"a-b": 1}}}
    space = parse_space(raw, ["c < 3", "a-b + a_b < 4"])
    assert list(space.grid()) == [{"a_b": 1, "c": 1}, {"a_b": 1, "c": 2}]


def test_no_point_of_the_grid_breaks_a_constraint():
    space = parse_space(SIZES, [AT_MOST_8, "seqs == 4 or tensor-parallel-size > 1"])
    wanted = [
        dict(zip(SIZES, values, strict=True))
        for values in itertools.product(*SIZES.values())
        if values[0] * values[1] <= 8 and (values[2] == 4 or values[0] > 1)
    ]
    assert list(space.grid()) == wanted and space.size() == len(wanted)
    assert space.allows({"tensor-parallel-size": 4, "pipeline-parallel-size": 2, "seqs": 4})
    assert not space.allows({"tensor-parallel-size": 4, "pipeline-parallel-size": 4, "seqs": 4})
    assert not space.contains({"tensor-parallel-size": 4, "pipeline-parallel-size": 4, "seqs": 4})


def test_a_constraint_does_not_apply_without_one_of_its_parameters():
    raw = {"on": [True, False], "n": {"type": "integer", "low": 1, "high": 4, "when": {"on": True}}}
    space = parse_space(raw, ["n > 3"])
    assert list(space.grid()) == [{"on": True, "n": 4}, {"on": False}]
    assert space.allows({})  # The baseline


def test_a_fixed_flag_counts_in_a_constraint():
    raw = {"on": [True, False], "n": {"type": "integer", "low": 1, "high": 4, "when": {"on": True}}}
    space = parse_space(raw, ["n * 2 >= max-len"], fixed={"max_len": 6})
    assert [point.get("n") for point in space.grid()] == [3, 4, None]
    # Its own flag of the engine is what an inactive parameter falls back on
    space = parse_space(raw, ["n > 3", "on or n > 2"], fixed={"n": 2})
    assert list(space.grid()) == [{"on": True, "n": 4}]


def test_a_constraint_that_cannot_be_computed_is_not_met():
    space = parse_space({"a": [0, 1], "b": [1, 2]}, ["b / a > 1"])
    assert list(space.grid()) == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a > 0", "c > 1"], "constraints[1]: 'c' is no parameter"),
        (["a > 'x'"], "constraints[0]: compares a number with text"),
        (["1 < 2"], "constraints[0]: names no parameter that is searched"),
        (["max-len > 2"], "constraints[0]: names no parameter that is searched"),
    ],
)
def test_a_wrong_constraint_is_refused_by_its_position(texts, message):
    assert message in refusal({"a": [1, 2], "b": ["x"]}, *texts, fixed={"max-len": 6})


def test_parameters_that_do_not_depend_on_each_other_are_counted_apart():
    wide = {"type": "integer", "low": 1, "high": 10**9}
    space = parse_space({**SIZES, "wide": wide, "wider": wide}, [AT_MOST_8])
    assert space.size() == 9 * 2 * 10**18
    rng = random.Random(1)
    indices = {rng.randrange(space.size()) for _ in range(100)}
    points = [space.point(index) for index in indices]
    assert len({space.key(point) for point in points}) == 100
    assert all(space.contains(point) for point in points)
    assert next(space.grid())["wide"] == 1


def test_what_is_forbidden_is_left_at_once():
    wide = {"type": "integer", "low": 1, "high": 10**9}
    space = parse_space({"a": [1, 2], "wide": wide, "b": [1, 2]}, ["a > b"])
    assert list(itertools.islice(space.grid(), 2)) == [
        {"a": 2, "wide": 1, "b": 1},
        {"a": 2, "wide": 2, "b": 1},
    ]


def test_too_many_combinations_are_not_counted_and_not_listed():
    wide = {"type": "integer", "low": 1, "high": LISTED}
    space = parse_space({"a": wide, "b": wide}, ["a + b == 7 or a == b"])
    assert space.size() is None and space.bound() == LISTED**2
    with pytest.raises(BadInput, match=r"a × b cannot be listed: of 10000000000 combinations"):
        space.grid()
    wider = {**wide, "high": 10**9}
    narrow = parse_space({"a": wider, "b": wider}, ["a == b"])
    with pytest.raises(BadInput, match=r"constraints\[0\]: no configuration was found"):
        narrow.sample(random.Random(1))


def test_rare_combinations_are_drawn_from_their_list():
    wide = {"type": "integer", "low": 1, "high": 300}
    space = parse_space({"a": wide, "b": wide}, ["a * 300 == b"])
    assert space.sample(random.Random(1)) == {"a": 1, "b": 300}
    assert space.first() == {"a": 1, "b": 300}
    none = parse_space({"a": [1], "b": [2]}, ["a > b"])
    assert none.size() == 0 and list(none.grid()) == []
    with pytest.raises(BadInput, match=r"constraints\[0\]"):
        none.sample(random.Random(1))


def test_values_that_occur_together_are_known_without_the_rest():
    wide = {"type": "integer", "low": 1, "high": 10**9}
    space = parse_space({**SIZES, "wide": wide, "rate": {**wide, "type": "float"}}, [AT_MOST_8])
    found = space.combinations(["tensor-parallel-size", "pipeline-parallel-size"])
    assert sorted(one["tensor-parallel-size"] * one["pipeline-parallel-size"] for one in found) == [
        *(1, 2, 2, 4, 4, 4, 8, 8, 8),
    ]
    assert space.combinations(["wide"]) is None
    assert parse_space(SPECULATIVE).combinations(["method"]) == [
        {"method": "ngram"},
        {"method": "eagle"},
        {},
    ]
    assert space.combinations([]) == [{}]


names = ["a", "b", "c", "d"]
values = st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)


@st.composite
def spaces(draw):
    raw = {}
    for index, name in enumerate(names):
        raw[name] = {"type": "categorical", "values": draw(values)}
        if index and draw(st.booleans()):
            other = draw(st.sampled_from(names[:index]))
            raw[name]["when"] = {other: draw(st.sampled_from(raw[other]["values"]))}
    shuffled = {name: raw[name] for name in draw(st.permutations(names))}
    pair = st.tuples(st.sampled_from(names), st.sampled_from(["<=", "!="]), st.sampled_from(names))
    return parse_space(shuffled, draw(st.lists(pair.map(" ".join), max_size=3)))


@given(spaces(), st.integers())
def test_all_ways_into_a_space_agree(space: Space, seed):
    flat = Space(
        tuple(parse_space({d.name: list(d.options)}).dimensions[0] for d in space.dimensions)
    )
    wanted = {space.key(point) for point in map(space.active, flat.grid()) if space.allows(point)}
    listed = [space.key(point) for point in space.grid()]
    assert len(listed) == len(set(listed)) == space.size() and set(listed) == wanted
    assert {space.key(space.point(index)) for index in range(space.size())} == wanted
    if wanted:
        drawn = space.sample(random.Random(seed))
        assert space.key(drawn) in wanted and space.contains(drawn)
        assert drawn == space.active(drawn) and space.contains(space.first())
