"""Expressions over parameters: what they mean, and that a wrong one is refused, whatever it is."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import BadInput
from experiments.expressions import MOST_DEPTH, NUMBER, TEXT, TRUTH, WrongKind, as_result, parse
from experiments.lexer import MOST_CHARACTERS, WORDS

KNOWN = {
    "max-num-seqs": frozenset([NUMBER]),
    "max": frozenset([NUMBER]),
    "share": frozenset([NUMBER]),
    "env.OMP_NUM_THREADS": frozenset([NUMBER]),
    "4bit": frozenset([TRUTH]),
    "dtype": frozenset([TEXT]),
    "in-flight": frozenset([NUMBER]),
    "mixed": frozenset([NUMBER, TEXT]),
}
VALUES = {
    "max-num-seqs": 8,
    "max": 10,
    "share": 0.1,
    "env.OMP_NUM_THREADS": 4,
    "4bit": True,
    "dtype": "fp8",
    "in-flight": 3,
    "mixed": "auto",
}


def result(text, **changes):
    compute, names = parse(text, KNOWN)
    values = {**VALUES, **changes}
    return compute({name: as_result(values[name]) for name in names})


def refusal(text):
    with pytest.raises(BadInput) as refused:
        parse(text, KNOWN)
    assert refused.value.field == ""
    return refused.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max-num-seqs == 8", True),
        ("max_num_seqs == 8", True),
        ("max-num-seqs - max == -2", True),
        ("max-2 == 8", True),  # As long as it can be, and there is no max-2
        ("max-max-num-seqs == 2", True),
        ("env.OMP_NUM_THREADS * 2 == max-num-seqs", True),
        ("in-flight in [1, 2, 3]", True),
        ("in-flight not in [1, 2, 3]", False),
        ("4bit", True),
        ("not 4bit or max < 10", False),
        ("4bit == true and dtype == 'fp8'", True),
        ('dtype in ["auto", "fp8"]', True),
        ("4 < max-num-seqs <= 8", True),
        ("8 < max-num-seqs <= 8", False),
        ("share + 0.2 == 0.3", True),  # As decimals, not as binary fractions
        ("0.3 // share == 3", True),
        ("max / 4 == 2.5 and max // 4 == 2 and max % 4 == 2", True),
        ("-max % 4 == 2", True),
        ("-(max - 1) == - 9", True),
        ("1e3 == 1000 and .5 == 0.50", True),
        ("max == 10 or max / 0 > 1", True),  # The rest is not computed
        ("mixed == 'auto' or mixed > 3", True),
        ("mixed == 4", False),
        ("(max >\n 3)", True),
        ("True and FALSE == false", True),
    ],
)
def test_an_expression_means_what_it_says(text, expected):
    assert result(text) is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("max-num-sqs > 1", "'max-num-sqs' is no parameter; did you mean max-num-seqs?"),
        ("dtype == fp8", 'text is written in quotes: "auto"'),
        ("max = 10", "'=' is unknown; write =="),
        ("max > 1 && share > 1", "'&' is unknown; write and"),
        ("max ≥ 1", "write >="),
        ("max >", "ends too early"),
        ("max > 1)", "cannot be read from ')' on"),
        ("max 10", "cannot be read from '"),
        ("max > * 3", "cannot be read from '* 3' on"),
        ("max ** 2 > 3", "cannot be read from"),
        ("max", "the whole needs true or false, not a number"),
        ("max > 'x'", "compares a number with text"),
        ("dtype == 8", "compares text with a number"),
        ("4bit == 1", "compares true or false with a number"),
        ("dtype < 'z'", "an order (< <= > >=) needs a number, not text"),
        ("dtype + 1 > 2", "arithmetic needs a number, not text"),
        ("4bit * 2 > 1", "arithmetic needs a number, not true or false"),
        ("not max", "`not` needs true or false, not a number"),
        ("max and share", "`and` needs true or false"),
        ("-dtype == 'a'", "a sign needs a number, not text"),
        ("max in 3", "after `in` comes a list"),
        ("max in []", "the list after `in` is empty"),
        ("max in [3, 'a']", "compares a number with text"),
        ("[max] == [3]", "a list [a, b] belongs after `in`"),
        ("max in [3] < 4", "nothing can be compared with a list"),
        ("max(3) > 1", "is no expression"),
        ("max[3] > 1", "is no expression"),
        ("(max, 3)", "is no expression"),
        ("max if 4bit else 3", "'if' is no parameter"),
        ("max.real > 1", "cannot be read"),
        ("dtype == 'a", "is not closed"),
        ("max == 1.5.2", "'1.5.2' is no parameter"),
        ("max < 1e99999", "no parameter"),
        ("max < " + "9" * 31, "31 digits is too large"),
        ("max < " + "1" * MOST_CHARACTERS, "is longer than 500 characters"),
        ("not " * (MOST_DEPTH + 2) + "4bit", "is nested too deeply"),
        ("(" * 240 + "4bit" + ")" * 240, ""),
        ("max < " + "-" * 400 + "1", "is nested too deeply"),
        ("__import__('os')", "is no parameter"),
    ],
)
def test_a_refusal_says_what_is_wrong(text, said):
    assert said in refusal(text)


def test_what_cannot_be_computed_is_an_arithmetic_error():
    for text in ("max / (max - 10) > 1", "max // 0 > 1", "max % 0 > 1"):
        with pytest.raises(ZeroDivisionError):
            result(text)
    with pytest.raises(OverflowError):
        result(" * ".join(["1e300"] * 20) + " < max")


def test_a_value_of_the_wrong_kind_is_found_when_it_is_met():
    assert result("mixed > 3", mixed=4) is True
    with pytest.raises(WrongKind, match="needs a number, not 'auto'"):
        result("mixed > 3")


@given(
    st.text(max_size=60) | st.text(st.sampled_from("max 4.()[]<>=!-+*/%,'\"andortfl"), max_size=60)
)
def test_random_text_is_read_or_refused(text):
    try:
        parse(text, KNOWN)
    except BadInput as problem:
        assert problem.message and "\n" not in problem.message


words = st.sampled_from(
    [*KNOWN, *WORDS, *"+-*/%()[],<>", "//", "<=", "==", "!=", "7", "0.5", "'a'"]
)


@given(st.lists(words, max_size=15).map(" ".join))
def test_random_words_are_read_or_refused(text):
    try:
        compute, names = parse(text, KNOWN)
    except BadInput:
        return
    try:
        assert compute({name: as_result(VALUES[name]) for name in names}) in (True, False)
    except (ArithmeticError, WrongKind):
        return


numbers = st.integers(0, 20).map(str) | st.sampled_from(["max", "in-flight", "0.25", "share"])
terms = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("- {}".format),
    ),
    max_leaves=6,
)
comparisons = st.tuples(
    terms, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), terms, st.sampled_from(["", "< 7"])
).map(" ".join)
memberships = st.tuples(
    terms, st.sampled_from(["in", "not in"]), st.lists(numbers, min_size=1, max_size=3)
).map(lambda parts: f"{parts[0]} {parts[1]} [{', '.join(parts[2])}]")
truths = st.recursive(
    comparisons | memberships | st.just("4bit"),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map("not {}".format),
        inner.map("({})".format),
    ),
    max_leaves=4,
)


@given(truths)
def test_an_expression_is_computed_as_python_would(text):
    as_python = (
        text.replace("0.25", "Fraction(1, 4)").replace("in-flight", "flight").replace("4bit", "b")
    )
    space = {"max": Fraction(10), "flight": Fraction(3), "share": Fraction(1, 10), "b": True}
    try:
        expected = eval(as_python, {"Fraction": Fraction}, space)  # The test's own text
    except ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            result(text)
        return
    assert result(text) is expected
