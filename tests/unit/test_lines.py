"""One line of a form says all that a task file can say of a parameter's values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import BadInput
from experiments.lines import format_values, parse_values
from experiments.notation import parse_dimension


def dimension(raw):
    return parse_dimension("flag", raw)


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        ("32, 64, 128", [32, 64, 128]),
        ("8192", [8192]),
        ("true, false", [True, False]),
        ("auto, fp8", ["auto", "fp8"]),
        ("0.8..0.95 step 0.05", {"type": "continuous", "low": 0.8, "high": 0.95, "step": 0.05}),
        ("0.0001..0.1 log", {"type": "continuous", "low": 1e-4, "high": 0.1, "log": True}),
        ("256..8192", {"type": "integer", "low": 256, "high": 8192}),
        ("1..9 step 2 log", {"type": "integer", "low": 1, "high": 9, "step": 2, "log": True}),
        ("1.0..4.0", {"type": "continuous", "low": 1.0, "high": 4.0}),
        ("-5..5", {"type": "integer", "low": -5, "high": 5}),
        ('"1", 1, "true", "a, b", "", "1..2"', ["1", 1, "true", "a, b", "", "1..2"]),
        ("../models/a, it's", ["../models/a", "it's"]),
        ("low, high ordered", {"type": "categorical", "values": ["low", "high"], "ordered": True}),
        ("1, 2 unordered", {"type": "categorical", "values": [1, 2], "ordered": False}),
        ("a, ordered", ["a", "ordered"]),
        ("ordered", ["ordered"]),
        ('"when x=1", "b ordered", "a when b"', ["when x=1", "b ordered", "a when b"]),
        (
            "64, 128 when speculative=true",
            {"type": "categorical", "values": [64, 128], "when": {"speculative": True}},
        ),
        (
            "1..8 step 2 log when method=ngram|eagle and env.X=0.5",
            {
                **{"type": "integer", "low": 1, "high": 8, "step": 2, "log": True},
                "when": {"method": ["ngram", "eagle"], "env.X": 0.5},
            },
        ),
        (
            'a, b ordered when x="1"|"a b"|"|"|1',
            {
                **{"type": "categorical", "values": ["a", "b"], "ordered": True},
                "when": {"x": ["1", "a b", "|", 1]},
            },
        ),
    ],
)
def test_one_line_says_what_a_task_file_says(line, raw):
    assert parse_values(line) == raw
    assert parse_values(format_values(raw)) == raw
    assert format_values(raw) == line


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        (
            " 0.80 .. 0.95  step 0.05 ",
            {"type": "continuous", "low": 0.8, "high": 0.95, "step": 0.05},
        ),
        ("1e-4..1e-1 log", {"type": "continuous", "low": 1e-4, "high": 0.1, "log": True}),
        ("True,False", [True, False]),
        ("'a, b',", ["a, b"]),
        (
            "a,b  ordered  when x = 1 | 'y z'  and b=and ",
            {
                **{"type": "categorical", "values": ["a", "b"], "ordered": True},
                "when": {"x": [1, "y z"], "b": "and"},
            },
        ),
        ("1..4 step 0.5", {"type": "continuous", "low": 1.0, "high": 4.0, "step": 0.5}),
    ],
)
def test_a_line_may_be_written_freely(line, raw):
    assert parse_values(line) == raw


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (8192, "8192"),
        ({"type": "boolean"}, "true, false"),
        ({"type": "boolean", "when": {"x": ["y"]}}, "true, false when x=y"),
        ({"type": "categorical", "values": [1, 2]}, "1, 2"),
        ({"type": "integer", "low": 1, "high": 4, "step": 1}, "1..4"),
        ({"type": "float", "low": 1, "high": 4, "step": 1}, "1.0..4.0 step 1.0"),
    ],
)
def test_every_form_of_values_has_a_line_of_the_same_meaning(raw, line):
    assert format_values(raw) == line
    assert dimension(parse_values(line)) == dimension(raw)


@pytest.mark.parametrize(
    "line",
    [
        *("", "1..x", "0.8..0.95 step", "1..4, 8", "a,,b", '"open', '"a\\q"'),
        *("when x=1", "a, when x=1", "a when x", "a when x=", "a when in doubt", "1..4 when x"),
        *("a when x=1|", "a when x=1 b=2", "a when x=1 and", "a when x=1 and x=2", "a when x=1..2"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused(line):
    with pytest.raises(BadInput):
        parse_values(line)


def test_a_number_that_nobody_can_take_is_refused():
    for line in ("9" * 5000, f"1..{'9' * 5000}", f"1, {'9' * 101}", f"1 when x={'9' * 101}"):
        with pytest.raises(BadInput, match="digits is too large"):
            parse_values(line)


@given(st.text(max_size=40) | st.text(st.sampled_from("when x=|1 .\"',ordea\\"), max_size=40))
def test_any_line_is_read_or_refused(line):
    try:
        parse_values(line)
    except BadInput as problem:
        assert problem.message


texts = st.text(max_size=8) | st.text(st.sampled_from("when x=|1 .\"',ordea\\"), max_size=12)
values = st.one_of(texts, st.booleans(), st.integers(-99, 99), st.floats(-9, 9), st.just("ordered"))
names = st.sampled_from(["x", "max-num-seqs", "env.X", "and", "when"])
several = st.lists(values, min_size=1, max_size=3, unique_by=lambda value: (type(value), value))


@given(several, st.sampled_from([None, True, False]), st.dictionaries(names, several, max_size=2))
def test_what_is_written_on_a_line_is_read_back(options, ordered, when):
    raw = {"type": "categorical", "values": options, "ordered": ordered, "when": when}
    try:
        wanted = dimension(raw)
    except BadInput:
        return  # 1 and 1.0 are one value
    assert dimension(parse_values(format_values(raw))) == wanted
