"""The user's own command and its placeholders."""

import pytest

from experiments.engines.base import Launch, Value
from experiments.engines.custom import Custom, check_command, unused
from experiments.errors import BadInput


def filled(*command: str, **flags: Value) -> list[str]:
    launch = Launch(model="m", flags=flags, port=8001, gpus=2, command=command)
    return Custom().argv(launch)


def test_model_port_gpus_and_parameters_are_put_in() -> None:
    command = ("./serve", "{model}", "--port", "{port}", "--tp={gpus}", "--batch={batch}")
    assert filled(*command, batch=8) == ["./serve", "m", "--port", "8001", "--tp=2", "--batch=8"]


def test_dash_and_underscore_are_the_same_in_a_placeholder() -> None:
    assert filled("s", "{max-num-seqs}", "{max_num_seqs}", max_num_seqs=4) == ["s", "4", "4"]
    launch = Launch("m", {"max-num-seqs": 4}, 1, 1, command=("s", "{max_num_seqs}"))
    assert Custom().argv(launch) == ["s", "4"]


def test_booleans_and_floats_are_written_plainly() -> None:
    assert filled("s", "{on}", "{share}", on=False, share=0.7 + 0.15) == ["s", "false", "0.85"]


def test_two_placeholders_fit_into_one_argument() -> None:
    assert filled("s", "--x={a}:{b}", a=1, b="two") == ["s", "--x=1:two"]


def test_braces_written_twice_are_braces() -> None:
    assert filled("s", '--json={{"n": {a}}}', a=1) == ["s", '--json={"n": 1}']


def test_a_value_is_never_filled_again() -> None:
    assert filled("s", "{a}", a="{port} {{x}}") == ["s", "{port} {{x}}"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("s", "--batch", "{batch}", "--log"), ["s", "--log"]),
        (("s", "--batch={batch}", "--log"), ["s", "--log"]),
        (("s", "--log=x", "{batch}"), ["s", "--log=x"]),
        (("s", "--batch", "n={batch}"), ["s", "--batch"]),
        (("s", "run", "{batch}"), ["s", "run"]),
        (("s", "-b", "{batch}", "{batch}"), ["s"]),
        (("s", "-b", "{batch}", "-c", "{port}"), ["s", "-c", "8001"]),
        (("s", "{port}:{batch}"), ["s"]),
    ],
)
def test_what_has_no_value_in_the_baseline_is_left_out_with_its_flag(
    command: tuple[str, ...], expected: list[str]
) -> None:
    assert filled(*command) == expected


def test_a_good_command_passes_the_check() -> None:
    check_command(["s", "{model}{port}{gpus}", "{max_num_seqs}", "{{x}}"], ["max-num-seqs"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["s", "{batchsize}"], r"command: unknown placeholder \{batchsize\} in '\{batchsize\}'"),
        (["s", "{}"], r"unknown placeholder \{\}"),
        (["s", '{"a": 1}'], "a literal brace is written twice"),
        (["s", "{batch"], r"'\{' alone in '\{batch'"),
        (["s", "batch}"], r"'\}' alone"),
        (["s", "{env.THREADS}"], "unknown placeholder"),
        ([], "must name a program"),
    ],
)
def test_a_placeholder_that_nobody_fills_is_found_beforehand(
    command: list[str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        check_command(command, ["batch", "env.THREADS"])


def test_what_no_placeholder_stands_for_is_unused_in_any_spelling() -> None:
    command = ["s", "--a={a_b}:{c}", "{{d}}"]
    assert unused(command, ["a-b", "c", "d", "env.E", "port"]) == ["d", "port"]
