import pytest
import yaml

from experiments.documents import read_document, write_yaml
from experiments.errors import BadInput


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "a: is given twice, in lines 1 and 2"),
        ('{"a": 1, "a": 2}', "a: is given twice; keep one of them"),
        ("a: [1", "task.yaml: line 1, column 6: expected ',' or ']', but got '<stream end>'"),
        ('{"a": nope nope: 1}', "task.yaml: line 1, column 7: Expecting value"),
        ("[" * 1000, "task.yaml: is nested too deeply"),
        ('{"a": NaN}', "NaN is not a finite number"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line_that_says_where(text, message):
    with pytest.raises(BadInput) as refused:
        read_document(text, "task.yaml")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("1e-4", 1e-4),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("7", 7),
        ("010", "010"),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("~", None),
        ("", None),
    ],
)
def test_a_plain_word_means_what_it_means_in_json(text, value):
    found = read_document(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_json_is_read_as_json_and_yaml_in_braces_as_yaml():
    assert read_document('{\n\t"a": [1e-4, "\\u00e9"]\n}') == {"a": [1e-4, "é"]}
    assert read_document("{a: [1, 2]}") == {"a": [1, 2]}


def test_anchors_and_merges_are_understood():
    text = "a: &usual {x: 1, y: 2}\nb: {<<: *usual, y: 3}"
    assert read_document(text)["b"] == {"x": 1, "y": 3}


def test_what_is_written_is_read_back_by_any_reader():
    data = {"b": ["on", "1e-4", "010", 1e-5, 1e22, True, None, "é"], "a": [{"x": [1, 2]}]}
    text = write_yaml(data)
    assert read_document(text) == yaml.safe_load(text) == data
    assert "x: [1, 2]" in text
    assert list(read_document(text)) == ["b", "a"]
